"""Work shared by the processor's cores: one thread per core, for functions that run without Python's global lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba

Share = tuple[int, int]


def shares(size: int, step: int) -> list[Share]:
    """Split ``size`` rows into one share per core, each a ``(begin, end)``.

    All shares but the last are multiples of ``step``. There may be fewer shares than cores, but there is at least one;
    of no rows, it is empty.
    """
    cores, _ = _cores()
    share = -(-max(size, 1) // (cores * step)) * step
    return [(begin, min(begin + share, size)) for begin in range(0, size, share)] or [(0, 0)]


def on_all_cores(
    work: Callable[..., None], parts: Sequence[Share], shared: Iterable[Any], own: Sequence[Any] | None = None
) -> None:
    """Do all parts of some work, side by side, and wait for them.

    Args:
        work: called once per part, with the part's begin and end, all of ``shared``, and the part's item of ``own``.
        parts: of :func:`shares`.
        shared: arguments that are the same for all parts.
        own: one more argument for each part.
    """
    _, pool = _cores()
    calls = [(*part, *shared) for part in parts]
    if own is not None:
        calls = [(*call, item) for call, item in zip(calls, own, strict=True)]
    first, *others = calls
    elsewhere = [pool.submit(work, *arguments) for arguments in others]
    work(*first)
    for call in elsewhere:
        call.result()


def _cores() -> tuple[int, ThreadPoolExecutor]:
    """The number of cores to use, and a pool of that many threads.

    Numba counts the cores that this process may use, unless ``NUMBA_NUM_THREADS`` is set.
    """
    count = numba.config.NUMBA_NUM_THREADS
    return count, _pool(count, os.getpid())


@cache
def _pool(count: int, process: int) -> ThreadPoolExecutor:
    """The threads of a process; those of its parent do not survive a fork."""
    return ThreadPoolExecutor(count, "textgen-core")
