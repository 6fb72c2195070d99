"""Everything that textgen prints on stderr, where stdout is kept for results."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Seconds between two plain lines of progress.
LINE_EVERY = 15.0


def notice(text: object) -> None:
    """Say something on stderr, in one line."""
    print(f"textgen: {text}", file=sys.stderr)


@contextmanager
def show_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Shows work of several parts on stderr: takes the name of the one under way, how much is done, and of how much.

    On a terminal a bar, which is taken away in the end; elsewhere a line every :data:`LINE_EVERY` seconds.
    """
    if not sys.stderr.isatty():
        said = time.monotonic()

        def tell(what: str, done: int, total: int) -> None:
            nonlocal said
            if time.monotonic() - said >= LINE_EVERY:
                said = time.monotonic()
                say(f"{what}: {done:,} of {total:,}")

        yield tell
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def say(text: str) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr, flush=True)
