"""Write docs/hooks.md from the hook specifications: ``python docs/generate.py``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textgen.plugins import hookspecs
from textgen.plugins.registration import KINDS

HOOKS = Path(__file__).parent / "hooks.md"

INTRODUCTION = """# Hooks

This page is written by `python docs/generate.py` from `textgen/hookspecs.py`; a test fails when the two disagree.

A plugin is a module (or any object) with functions of these names, marked with `textgen.hookimpl`, and named by an
entry point in the group `textgen`, or given with `--plugin FILE`. A function takes any of the hook's arguments, by
name, in any order. `@hookimpl(optionalhook=True)` marks a hook that some versions of textgen lack; `tryfirst=True` and
`trylast=True` order the plugins of a life-cycle hook, which are called by distribution and name otherwise. Wrappers are
refused.

What a plugin raises is told in one line. At import and registration the plugin is skipped as a whole; in a life-cycle
hook its hooks are left out from there on, and its names stay. `TEXTGEN_STRICT=1` raises instead. How long a hook lasts
is said in [stability.md](stability.md).
"""

NAMES = """## Names

Each of these hooks gets one argument, a function that gives a name to a target:

```python
{signature}: ...
```

{arguments}

The target is imported when the name is first used. One name has one owner: where two plugins claim it, using it is an
error that names both.
"""

LIFE_CYCLE = """## Life cycle

Called while a model is trained or writes, plugin by plugin. `Batch` is in `textgen.text.batches`, `Position` in
`textgen.model.model`, `Request` and `Generation` in `textgen.generation.loop`.
"""


def specifications() -> dict[str, Callable[..., Any]]:
    """The hooks' specifications by name, in the order of the source."""
    marker = f"{hookspecs.PROJECT}_spec"
    return {name: each for name, each in vars(hookspecs).items() if inspect.isfunction(each) and hasattr(each, marker)}


def hooks_page() -> str:
    """The content of docs/hooks.md."""
    register = hookspecs.Register.__call__
    names = NAMES.format(
        signature=_signature("register", register), arguments=_arguments(inspect.getdoc(register) or "")
    )
    found = specifications()
    naming = [_section(name, found[name]) for name in found if name in KINDS.values()]
    life_cycle = [_section(name, found[name]) for name in found if name not in KINDS.values()]
    return "\n".join([INTRODUCTION, names, *naming, LIFE_CYCLE, *life_cycle])


def _section(name: str, specification: Callable[..., Any]) -> str:
    documentation = inspect.getdoc(specification) or ""
    text, _, rest = documentation.partition(".. versionadded:: ")
    since, _, rest = rest.partition("\n")
    arguments, _, returns = rest.partition("Returns:")
    parts = [
        f"### `{name}`",
        f"Since {since}.",
        f"```python\n@hookimpl\n{_signature(name, specification)}: ...\n```",
        _plain(text),
        _arguments(arguments),
        f"Returns: {_plain(returns)}" if returns else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _signature(name: str, function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    own = [parameter for parameter in signature.parameters.values() if parameter.name != "self"]
    # Annotations are strings, and shown as such.
    return "def " + name + re.sub(r"(?<!')'([^']+)'", r"\1", str(signature.replace(parameters=own))).replace("''", '""')


def _arguments(documentation: str) -> str:
    listed = inspect.cleandoc(documentation.partition("Args:")[2]).strip()
    joined = re.sub(r"\n {4,}", " ", listed)  # an argument may take several lines
    return "\n".join(re.sub(r"^(\w+): ", r"- `\1`: ", _plain(line)) for line in joined.splitlines())


def _plain(text: str) -> str:
    """Markdown of a docstring: roles and double backquotes become code, lines of a paragraph are joined."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    paragraphs = [" ".join(part.split()) for part in text.strip().split("\n\n")]
    return "\n\n".join(paragraphs)


if __name__ == "__main__":
    HOOKS.write_text(hooks_page(), encoding="utf-8")
