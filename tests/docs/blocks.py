"""Pages of the documentation: their fenced blocks, and a folder in which their commands run."""

import os
import re
import shlex
import sys
from pathlib import Path
from typing import NamedTuple


class Block(NamedTuple):
    """A fenced block, and the name of its file, if the paragraph before it is, or ends with, one: `name`:"""

    file: str
    language: str
    content: str


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in order."""
    return [Block(*found) for found in re.findall(r"(?:`([\w.-]+)`:\n\n)?```(\w*)\n(.*?)```", page, re.DOTALL)]


def variables(folder: Path) -> dict[str, str]:
    """The environment of commands: ``textgen``, in a new folder ``bin``, and ``python`` are those of the tests."""
    script = folder / "bin" / "textgen"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m textgen "$@"\n')
    script.chmod(0o755)
    outer = {name: value for name, value in os.environ.items() if not name.startswith("TEXTGEN_")}
    path = [str(script.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    return outer | {"PATH": os.pathsep.join(path)}
