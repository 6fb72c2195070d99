"""The machine and its Python: cores, devices, installed versions, signals."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal, cast

from textgen.errors import OptionError


def distribution_version(name: str) -> str:
    """The installed version of a distribution, or ``"unknown"``."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def usable_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_device(device: str) -> tuple[Literal["auto", "cpu", "cuda"], int]:
    """The kind of a requested device, and the number of the GPU (0 by default).

    Raises:
        OptionError: unless it is ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    """
    match = re.fullmatch(r"(auto|cpu|cuda)|cuda:(\d+)", device)
    if match is None:
        raise OptionError(f"unknown device {device!r}; there are: auto, cpu, cuda, cuda:N")
    return cast('Literal["auto", "cpu", "cuda"]', match[1] or "cuda"), int(match[2] or 0)


@contextmanager
def signals_handled(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> Iterator[None]:
    """Handles Ctrl-C, SIGTERM and SIGHUP with ``handler`` inside the ``with`` block, then as before.

    SIGHUP comes from a terminal that is closed; under ``nohup`` it stays ignored. Python allows this in the main thread
    only; in any other thread the block runs without it.

    Args:
        handler: as :func:`signal.signal` takes it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    former = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in former.items():
            signal.signal(number, previous)
