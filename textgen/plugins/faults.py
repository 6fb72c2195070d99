"""Faults of plugins: one line for each, with its place and the plugin to blame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import FrameType

from textgen.plugins.discovery import Plugin


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
