"""The processor's cores, each with a part of the work. For functions that run without Python's lock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from textgen import usable_cores


def shares(size: int, step: int) -> list[tuple[int, int]]:
    """Where each core's share of a size begins and ends; all shares but the last are whole steps.

    Of nothing there is one share, which is empty.
    """
    count, _ = _cores()
    share = -(-max(size, 1) // (count * step)) * step
    return [(begin, min(begin + share, size)) for begin in range(0, size, share)] or [(0, 0)]


def on_all_cores(
    work: Callable[..., None],
    parts: Sequence[tuple[int, int]],
    shared: Iterable[Any],
    *own: Sequence[Any],
) -> None:
    """Do each part of some work, side by side, and wait for all.

    Args:
        work: is called with a part's begin and end, what is shared, and what is the part's own.
        parts: as :func:`shares` gives them.
        shared: the same arguments for all.
        own: arguments of which each part has one, as many of each as there are parts.
    """
    _, pool = _cores()
    first, *others = [(*part, *shared, *each) for part, *each in zip(parts, *own, strict=True)]
    elsewhere = [pool.submit(work, *arguments) for arguments in others]
    work(*first)
    for call in elsewhere:
        call.result()


@cache
def _cores() -> tuple[int, ThreadPoolExecutor]:
    """How many this process may use, and as many threads."""
    count = usable_cores()
    return count, ThreadPoolExecutor(count, "textgen-core")
