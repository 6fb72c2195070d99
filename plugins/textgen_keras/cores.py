"""The processor's cores, each with a part of the work. For functions that run without Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any


def shares(size: int, step: int) -> list[tuple[int, int]]:
    """Where each core's share of a size begins and ends; all shares but the last are whole steps.

    Of nothing there is one share, which is empty.
    """
    count, _ = _cores()
    share = -(-max(size, 1) // (count * step)) * step
    return [(begin, min(begin + share, size)) for begin in range(0, size, share)] or [(0, 0)]


def on_all_cores(work: Callable[..., None], calls: Iterable[tuple[Any, ...]]) -> None:
    """Call a function with each tuple of arguments, side by side, and wait for all."""
    _, pool = _cores()
    own, *others = calls
    elsewhere = [pool.submit(work, *arguments) for arguments in others]
    work(*own)
    for call in elsewhere:
        call.result()


@cache
def _cores() -> tuple[int, ThreadPoolExecutor]:
    """How many this process may use, and as many threads."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return count, ThreadPoolExecutor(count, "textgen-core")
