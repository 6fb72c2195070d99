"""The right matrix of a product, packed for :mod:`textgen_keras.kernels.matmul`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable
from numpy.typing import NDArray

from textgen_keras.kernels.arrays import empty, scratch
from textgen_keras.kernels.jit import compiled, compiled_part
from textgen_keras.kernels.matmul import COLUMNS
from textgen_keras.kernels.threads import on_all_cores, shares
from textgen_keras.kernels.vectors import copy

#: Largest matrix, in bytes, of which each core has panels of its own, in its cache: cores that read the same memory are
#: slower. What is larger they share, so that it need not be read as often.
LARGEST_OWN = 2**20

# A matrix is transposed in squares of so many rows, so that both sides read and write whole lines of the cache.
_SQUARE = 16


@compiled_part
def pack(matrix: Any) -> Any:
    """``[K, N]``, contiguous → panels ``[ceil(N / COLUMNS), K, COLUMNS]``; columns beyond N are 0."""
    depth, columns = matrix.shape
    panels = scratch(_count(columns) * depth * COLUMNS, matrix).reshape((_count(columns), depth, COLUMNS))
    _fill(0, len(panels), panels, matrix)
    return panels


@compiled_part
def pack_transposed(matrix: Any) -> Any:
    """The panels of ``matrix.T``."""
    columns, depth = matrix.shape
    panels = scratch(_count(columns) * depth * COLUMNS, matrix).reshape((_count(columns), depth, COLUMNS))
    _fill_transposed(0, len(panels), panels, matrix)
    return panels


def shared_panels(matrix: NDArray[Any], *, transposed: bool = False) -> NDArray[Any]:
    """What :func:`pack` or :func:`pack_transposed` gives, for all cores; none where each has its own."""
    if matrix.nbytes <= LARGEST_OWN:
        return np.empty((0, 0, COLUMNS), matrix.dtype)
    depth, columns = reversed(matrix.shape) if transposed else matrix.shape
    panels = empty((_count(columns), depth, COLUMNS), matrix.dtype)
    on_all_cores(_fill_share_transposed if transposed else _fill_share, shares(len(panels), 1), (panels, matrix))
    return panels


@register_jitable  # type: ignore[untyped-decorator]
def _count(columns: int) -> int:
    """Panels of so many columns."""
    return (columns + COLUMNS - 1) // COLUMNS


@compiled_part
def _fill(begin: int, end: int, panels: Any, matrix: Any) -> None:
    """Fill some panels with the columns of a matrix."""
    depth, columns = matrix.shape
    flat, flat_matrix = panels.reshape(-1), matrix.reshape(-1)
    for panel in range(begin, end):
        there = min(COLUMNS, columns - panel * COLUMNS)
        for k in range(depth):
            row = (panel * depth + k) * COLUMNS
            copy(((flat_matrix, k * columns + panel * COLUMNS),), ((flat, row),), (), there)
            for n in range(there, COLUMNS):
                flat[row + n] = 0


@compiled_part
def _fill_transposed(begin: int, end: int, panels: Any, matrix: Any) -> None:
    """Fill some panels with the rows of a matrix."""
    columns, depth = matrix.shape
    flat, flat_matrix = panels.reshape(-1), matrix.reshape(-1)
    for panel in range(begin, end):
        there = min(COLUMNS, columns - panel * COLUMNS)
        for first in range(0, depth, _SQUARE):
            last = min(first + _SQUARE, depth)
            for n in range(there):
                row = (panel * COLUMNS + n) * depth
                for k in range(first, last):
                    flat[(panel * depth + k) * COLUMNS + n] = flat_matrix[row + k]
            for k in range(first, last):
                for n in range(there, COLUMNS):
                    flat[(panel * depth + k) * COLUMNS + n] = 0


@compiled
def _fill_share(begin: int, end: int, panels: Any, matrix: Any) -> None:
    _fill(begin, end, panels, matrix)


@compiled
def _fill_share_transposed(begin: int, end: int, panels: Any, matrix: Any) -> None:
    _fill_transposed(begin, end, panels, matrix)
