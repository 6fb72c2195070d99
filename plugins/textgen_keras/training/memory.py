"""Where TensorFlow computes. The functions need TensorFlow: see :func:`require_tensorflow`."""

from __future__ import annotations

import ctypes


def keep_freed_memory() -> None:
    """Let the C library of this process keep what is freed for what is allocated next, up to 2 GiB.

    A batch of training allocates and frees the same large tensors as the one before. By default glibc gives them back
    to the system and asks anew, page by page: a fifth of the time of a batch. With another C library nothing happens.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD in malloc.h
    try:
        change = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # another system, another C library
        return
    # Before glibc 2.35 the second may be 32 MiB at most; without it the first would do more harm than good.
    if change(mmap_threshold, 2**31 - 1) or change(mmap_threshold, 2**25):
        change(trim_threshold, 2**31 - 1)
