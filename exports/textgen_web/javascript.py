"""``textgen.js``: the modules of the engine in one file."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from functools import cache
from importlib.resources import files

from textgen_web.kernel import SIGMOID, TANH, kernel_module

#: In an order in which each comes after those that it imports.
MODULES = (
    "checks",
    "random",
    "kernel",
    "tensors",
    "ngram",
    "network",
    "tokenizers",
    "sampling",
    "model",
    "row",
)

#: A module imports names in one line, as they are.
_IMPORT = re.compile(r"^import \{.*\} from '\./.*';\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=const|function|class|async)", re.MULTILINE)


@cache
def engine(*, is_module: bool = True) -> str:
    """The engine as an ES module, or as a short classic script that leaves its names to the scripts after it."""
    parts = [_EXPORT.sub("", _source(name)) for name in MODULES]
    main = _source("textgen")
    head, rest = main.split("\n\n", 1)
    if is_module:
        rest += "\nexport {TextgenError, UnknownCharacterError};\n"
    else:
        rest = _EXPORT.sub("", rest)
    return "\n\n".join([head, *(part.strip("\n") for part in [*parts, rest])]) + "\n"


def _source(name: str) -> str:
    text = _IMPORT.sub("", read(f"{name}.js"))
    text = text.replace("'@RATIONALS@'", json.dumps([SIGMOID, TANH]))
    return text.replace("@KERNEL@", b64encode(kernel_module()).decode())


def read(name: str) -> str:
    """A file of the folder ``js``."""
    return files("textgen_web").joinpath("js", name).read_text(encoding="utf-8")
