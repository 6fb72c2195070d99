"""Products of matrices a core at a time, for loops that :mod:`numba` compiles.

A product is made of tiles: a few rows by a few vectors of columns, whose sums stay in registers while the core runs
along the inner dimension (Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication"). Loops that
Numba compiles keep such sums in memory, at a third of the speed, so the innermost loop is written in LLVM's language.
The right matrix is packed (:mod:`textgen_keras.kernels.packing`), so that what a tile reads of it lies side by side,
and stays in the first cache from one tile to the next.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen_keras.kernels.jit import compiled_part

#: Of a processor's vectors, in bytes: those that begin elsewhere span two lines of the cache each.
_ALIGNMENT = 64


def empty(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Like :func:`numpy.empty`, and aligned to the processor's vectors."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % _ALIGNMENT
    array: NDArray[Any] = memory[first : first + size].view(dtype).reshape(shape)
    return array


def zeros(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Like :func:`numpy.zeros`, and aligned to the processor's vectors."""
    array = empty(shape, dtype)
    array[...] = 0
    return array


def check_index(index: NDArray[np.int32], size: int) -> None:
    """Raise ``ValueError`` where an int32 is not the number of one of so many rows: compiled functions do not look."""
    if index.size and index.view(np.uint32).max() >= size:  # as such, what is below 0 is large
        raise ValueError(f"ids must be from 0 to {size - 1}, got {index.min()} to {index.max()}")


@compiled_part
def scratch(size: int, like: Any) -> Any:
    """For compiled functions: a flat array of the dtype of another, aligned to the processor's vectors."""
    memory = np.empty(size + _ALIGNMENT // like.itemsize, like.dtype)
    first = -memory.ctypes.data % _ALIGNMENT // like.itemsize
    return memory[first : first + size]


def sum_of(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The sum of arrays, in the first of them and in their order; one that comes again counts once."""
    total, *others = parts
    for part in others:
        if part is not total:
            total += part
    return total


@compiled_part
def clear(array: Any) -> None:
    """Make all of a contiguous array 0."""
    flat = array.reshape(-1)
    for n in range(len(flat)):
        flat[n] = 0
