"""Everything that textgen prints on stderr; stdout is for results."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from textgen.base.streams import messages

#: Seconds between two plain lines of progress.
LINE_EVERY = 15.0

#: The notices that are printed only once.
_noticed: set[str] = set()


def say(text: object) -> None:
    """Print a line on stderr."""
    print(text, file=messages(), flush=True)


def folded(text: str, indent: int = 0, stream: TextIO | None = None) -> str:
    """A line broken between words to the width of a terminal; elsewhere as it is.

    Args:
        text: the line; blanks at its beginning are kept.
        indent: blanks before the lines that follow the first one.
        stream: where the line is printed, by default stdout.
    """
    if not (stream or sys.stdout).isatty():
        return text
    width = shutil.get_terminal_size().columns
    if len(text) <= width:
        return text
    start = len(text) - len(text.lstrip())
    lines = textwrap.wrap(
        text[start:],
        max(width, indent + 20),
        initial_indent=" " * start,
        subsequent_indent=" " * min(indent, width // 2),
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    )
    return "\n".join(lines)


def notice(text: object, *, once: bool = False) -> None:
    """Print a line on stderr that begins with ``textgen:``.

    Args:
        text: the line.
        once: print it only if this process has not printed it yet.
    """
    line = f"textgen: {text}"
    if once:
        if line in _noticed:
            return
        _noticed.add(line)
    say(line)


@contextmanager
def show_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Shows the progress of a command on stderr.

    On a terminal this is a bar, removed at the end; elsewhere a line every :data:`LINE_EVERY` seconds.

    Yields:
        A function to call with the name of the current step, the amount done, and the total.
    """
    if not sys.stderr.isatty():
        printed = time.monotonic()

        def print_line(step: str, done: int, total: int) -> None:
            nonlocal printed
            if time.monotonic() - printed >= LINE_EVERY:
                printed = time.monotonic()
                say(f"{step}: {done:,} of {total:,}")

        yield print_line
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")
        yield lambda step, done, total: bar.update(task, description=step, completed=done, total=total)
