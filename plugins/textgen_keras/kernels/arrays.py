"""Arrays that begin at a multiple of the processor's vectors, and what is done with whole arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen_keras.kernels.jit import compiled_part

Array = NDArray[Any]

#: Bytes of the largest vector, and of a line of the cache: a vector that begins elsewhere spans two lines.
_ALIGNMENT = 64


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """Like :func:`numpy.empty`, but aligned to the processor's vectors."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % _ALIGNMENT
    array: Array = memory[first : first + size].view(dtype).reshape(shape)
    return array


def zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """Like :func:`numpy.zeros`, but aligned to the processor's vectors."""
    array = empty(shape, dtype)
    array[...] = 0
    return array


@compiled_part
def scratch(size: int, like: Any) -> Any:
    """For compiled functions: an uninitialized flat array of the dtype of ``like``, aligned to vectors."""
    memory = np.empty(size + _ALIGNMENT // like.itemsize, like.dtype)
    first = -memory.ctypes.data % _ALIGNMENT // like.itemsize
    return memory[first : first + size]


@compiled_part
def clear(array: Any) -> None:
    """For compiled functions: set a contiguous array to 0."""
    flat = array.reshape(-1)
    for n in range(len(flat)):
        flat[n] = 0


def sum_of(parts: Sequence[Array]) -> Array:
    """The sum of arrays in their order, computed in the first of them; the first one listed again counts once."""
    total, *others = parts
    for part in others:
        if part is not total:
            total += part
    return total


def check_index(index: Array, size: int) -> None:
    """Check that int32 numbers are rows of an array of ``size`` rows, which compiled functions do not.

    Raises:
        ValueError: if one of them is below 0 or not below ``size``.
    """
    if index.size and index.view(np.uint32).max() >= size:  # unsigned, a negative number is a large one
        raise ValueError(f"ids must be from 0 to {size - 1}, got {index.min()} to {index.max()}")
