"""Faults of plugins: one line for each, with its place and the plugin to blame."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from textgen.base.streams import stdout_for_results
from textgen.plugins.discovery import Plugin

#: The folder of textgen, with a separator at its end.
_TEXTGEN = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")


@dataclass(frozen=True)
class Problem:
    """A plugin that was skipped.

    Attributes:
        plugin: the plugin.
        reason: the reason, on one line.
        where: the file, and the line if it is known.
    """

    plugin: Plugin
    reason: str
    where: str

    def __str__(self) -> str:
        return f"plugin {self.plugin}: {self.reason}"


def describe(error: BaseException) -> str:
    """An exception on one line, with its type."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def locate(error: BaseException) -> str | None:
    """The file and line at which a plugin raised an error: the innermost frame outside textgen and importlib."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    places = [
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in _frames(error)
        if _root(frame) not in ("textgen", "importlib", "contextlib", "pluggy")
    ]
    return places[-1] if places else None


def exit_place(error: SystemExit) -> str | None:
    """The file and line that ended the program, unless textgen or its command line did."""
    frame, line = [*_frames(error)][-1]
    return None if _root(frame) in ("textgen", "typer", "click") else f"{frame.f_code.co_filename}:{line}"


@contextmanager
def contained() -> Iterator[None]:
    """Runs code of a plugin: it prints on stderr, and streams and working directory are then as they were before.

    ``os._exit``, which would end the program as if all were done, raises ``SystemExit`` inside the block. All of this
    holds in the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # streams and working directory belong to all threads
        return
    process, leave = os.getpid(), os._exit

    def refuse(status: int) -> NoReturn:
        caller = sys._getframe(1).f_code.co_filename
        if os.getpid() != process or caller.startswith(_TEXTGEN):
            leave(status)  # a process that the plugin has started, or a signal that textgen handles
        raise SystemExit(f"os._exit({status})")

    folder = working_directory()
    try:
        os._exit = refuse
        with stdout_for_results():
            yield
    finally:
        os._exit = leave
        return_to(folder)


def working_directory() -> str | None:
    """The working directory, or ``None`` if it has been removed."""
    try:
        return os.getcwd()
    except OSError:
        return None


def return_to(folder: str | None) -> None:
    """Makes a folder the working directory again, if plugin code has changed it."""
    if folder is not None and working_directory() != folder:
        os.chdir(folder)


def find_culprit(error: BaseException, owners: Mapping[str, Plugin]) -> tuple[Plugin, str] | None:
    """The innermost plugin whose code an error passed through, with the file and line.

    Args:
        error: with its traceback.
        owners: plugins by the names of their packages.
    """
    for frame, line in reversed([*_frames(error)]):
        owner = owners.get(_root(frame))
        if owner is not None:
            return owner, f"{frame.f_code.co_filename}:{line}"
    return None


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _root(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
