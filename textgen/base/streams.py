"""stdout is for results: whatever plugins and libraries print goes to stderr, until the process ends.

A command writes its results with :func:`print_result`. Everything else that prints, print statements in plugins and
code in C among it, finds stderr in the place of stdout; only before a command runs, the main thread prints help there.
"""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from textgen.errors import TextgenError
from textgen.files.writing import moved

#: stdout of the program, and where its messages go, while others find :class:`_Messages` in the place of both.
_own: tuple[TextIO, TextIO] | None = None


def results() -> TextIO:
    """The stream for results: the program's stdout."""
    return _own[0] if _own else sys.stdout


def messages() -> TextIO:
    """The stream for everything else: the program's stderr."""
    return _own[1] if _own else sys.stderr


def print_result(*values: object, end: str = "\n") -> None:
    """Prints a result on stdout, as :func:`print` does."""
    print(*values, end=end, file=results())


def print_json(value: object) -> None:
    """Prints a result on stdout as JSON, which has no NaN and no infinity.

    Raises:
        TextgenError: if it has a number that is not finite.
    """
    try:
        text = json.dumps(value, indent=1, allow_nan=False)
    except ValueError:
        raise TextgenError(
            "a number of the result is NaN or infinite, which JSON does not have: the model gives no finite numbers; "
            "use another run, or train again"
        ) from None
    print_result(text)


class _Messages(io.TextIOBase):
    """The stream :func:`messages`, as plugins see it: closing it has no effect."""

    def _stream(self) -> TextIO:
        return messages()

    def write(self, text: str) -> int:
        return self._stream().write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):  # Python flushes stdout at its end, and would report a closed stderr
            self._stream().flush()

    def close(self) -> None:
        """Does nothing: the stream is not the plugin's."""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._stream().isatty()

    def fileno(self) -> int:
        return self._stream().fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream().encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream().errors

    def __getattr__(self, name: str) -> Any:  # such as buffer
        return getattr(self._stream(), name)


class _BetweenCommands(_Messages):
    """stdout before a command runs: the main thread prints help there; the other threads are those of plugins."""

    def _stream(self) -> TextIO:
        return results() if threading.current_thread() is threading.main_thread() else messages()

    def flush(self) -> None:
        self._stream().flush()


#: One of each for the whole process: Python's ``print`` does not hold on to the stream that it writes to, so a stream
#: that is replaced, and so deleted, while a plugin's thread prints would crash the process.
_MESSAGES, _BETWEEN_COMMANDS = _Messages(), _BetweenCommands()


@contextmanager
def stdout_for_results() -> Iterator[None]:
    """Inside the ``with`` block, stdout is stderr for all but :func:`results`; then both are as they were before.

    A plugin may replace or close ``sys.stdout`` and ``sys.stderr`` inside the block without harm.
    """
    global _own  # noqa: PLW0603 - the streams of a process
    former = _own, sys.stdout, sys.stderr
    _own = _own or (sys.stdout, sys.stderr)
    sys.stdout = sys.stderr = _MESSAGES
    try:
        yield
    finally:
        _own, sys.stdout, sys.stderr = former


@contextmanager
def messages_to(stream: TextIO) -> Iterator[None]:
    """Inside the ``with`` block, messages go to a stream that wraps the one they went to before."""
    global _own  # noqa: PLW0603 - the streams of a process
    former = _own, sys.stderr
    if _own is None:
        sys.stderr = stream
    _own = results(), stream
    try:
        yield
    finally:
        _own, sys.stderr = former


def claim_stdout() -> None:
    """Keeps stdout for results until the process ends, see :class:`_BetweenCommands`."""
    global _own  # noqa: PLW0603 - the streams of a process
    _own = _own or (sys.stdout, sys.stderr)
    sys.stdout = _BETWEEN_COMMANDS


def leave_stdout() -> None:
    """Keeps everything away from stdout that prints after the last command: threads, and functions of ``atexit``."""
    if _own is not None:
        sys.stdout = _MESSAGES


def move_stdout() -> None:
    """Moves stdout to another descriptor, and lets descriptor 1 lead to stderr: code in C prints there."""
    if sys.stdout is not sys.__stdout__ or not isinstance(sys.stdout, io.TextIOWrapper):
        return  # stdout is someone else's, such as a test's
    old = sys.stdout
    with suppress(OSError, ValueError):  # without stderr, everything stays as it is
        if (old.fileno(), sys.stderr.fileno()) == (1, 2):
            old.flush()
            file = open(os.dup(1), "wb", buffering=0 if old.write_through else -1)  # noqa: SIM115 - until the end
            os.dup2(2, 1)
            sys.stdout = io.TextIOWrapper(
                file,
                encoding=old.encoding,
                errors=old.errors,
                line_buffering=old.line_buffering,
                write_through=old.write_through,
            )
            moved[1] = sys.stdout


def move_stdout_back() -> None:
    """Lets stdout be stdout again, and descriptor 1, for a command of a plugin, which may print as it likes."""
    global _own
    sys.stdout, sys.stderr, _own = results(), messages(), None
    with suppress(OSError, ValueError):
        if sys.stdout is not sys.__stdout__ and sys.__stdout__ is not None and sys.__stdout__.fileno() == 1:
            os.dup2(sys.stdout.fileno(), 1)
            moved.clear()
