r"""Everything that textgen prints on stderr; stdout is for results.

Texts, names and messages come from corpora, models and plugins, which may be a stranger's. On a terminal, their control
characters would move the cursor, set a title, or hide what follows. So they are shown there as ``\x1b`` and the like.
Files and pipes get them as they are.
"""

from __future__ import annotations

import re
import shutil
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from textgen.base.streams import messages, messages_to, results

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

#: Seconds between two plain lines of progress.
LINE_EVERY = 15.0

#: The notices that are printed only once.
_noticed: set[str] = set()


#: Characters that a terminal acts on: C0 but for tab and line feed, DEL, C1, and those that reverse text.
_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    r"""A text for a terminal: each character that it would act on becomes its code, such as ``\x1b`` or ``\u202e``."""
    return _ACTING.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


class Terminal:
    """A stream to a terminal on which every text is :func:`visible`; in all else it is the stream.

    Args:
        stream: such as ``sys.stdout``.
    """

    def __init__(self, stream: Any) -> None:
        self.bare = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bare, name)

    def write(self, text: str) -> int:
        """Write a text; returns its own length."""
        self.bare.write(visible(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts."""
        for line in lines:
            self.write(line)


def made_visible(stream: Any) -> Any:
    """The stream, as a :class:`Terminal` if it leads to one."""
    return Terminal(stream) if stream.isatty() and not isinstance(stream, Terminal) else stream


def bare(stream: Any) -> Any:
    """The stream behind a :class:`Terminal`, for those who write what a terminal acts on, such as a progress bar."""
    return getattr(stream, "bare", stream)


def say(text: object) -> None:
    """Print a line on stderr, in one piece: another thread may print at the same moment."""
    print(f"{text}\n", end="", file=made_visible(messages()), flush=True)


def folded(text: str, indent: int = 0, stream: TextIO | None = None) -> str:
    """A line broken between words to the width of a terminal; elsewhere as it is.

    Args:
        text: the line; blanks at its beginning are kept.
        indent: blanks before the lines that follow the first one.
        stream: where the line is printed, by default stdout.
    """
    if not (stream or results()).isatty():
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
    if not messages().isatty():
        printed = time.monotonic()

        def print_line(step: str, done: int, total: int) -> None:
            nonlocal printed
            if time.monotonic() - printed >= LINE_EVERY:
                printed = time.monotonic()
                say(f"{step}: {done:,} of {total:,}")

        yield print_line
        return
    with progress_bar() as bar:
        task = bar.add_task("")
        yield lambda step, done, total: bar.update(task, description=visible(step), completed=done, total=total)


@contextmanager
def progress_bar(*columns: str | ProgressColumn, expand: bool = False) -> Iterator[Progress]:
    """A progress bar on stderr, which is a terminal; what is printed on stderr meanwhile appears above it.

    Its own texts, such as descriptions, must be :func:`visible`.

    Args:
        columns: as ``rich.progress.Progress`` takes them; by default its own.
        expand: whether the bar is as wide as the terminal.
    """
    from rich.console import Console
    from rich.file_proxy import FileProxy
    from rich.progress import Progress

    console = Console(file=bare(messages()))
    above: Any = Terminal(FileProxy(console, bare(messages())))
    bar = Progress(
        *columns, console=console, transient=True, expand=expand, redirect_stdout=False, redirect_stderr=False
    )
    with bar, messages_to(above):
        yield bar
