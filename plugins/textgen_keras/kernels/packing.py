"""The right matrix of a product, packed in panels for :mod:`textgen_keras.kernels.matmul`.

A panel is ``[K, COLUMNS]``: the COLUMNS columns of a matrix ``[K, N]`` that one tile reads, row after row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from textgen_keras.kernels.arrays import Array, empty, scratch
from textgen_keras.kernels.jit import compiled, compiled_part
from textgen_keras.kernels.matmul import COLUMNS
from textgen_keras.kernels.threads import on_all_cores, shares
from textgen_keras.kernels.vectors import copy

#: The largest matrix, in bytes, of which each core packs a copy for itself, in its own cache: products are slower if
#: cores read the same memory. All cores share the panels of a larger one, which then needs to be packed only once.
LARGEST_OWN = 2**20

# A matrix is transposed in squares of this size, so that reads and writes both use whole lines of the cache.
_SQUARE = 16


@compiled_part
def pack(matrix: Any) -> Any:
    """A contiguous matrix ``[K, N]`` as panels ``[ceil(N / COLUMNS), K, COLUMNS]``; columns beyond N are 0."""
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


def shared_panels(matrix: Array, *, transposed: bool = False) -> Array:
    """The panels of a large matrix, or of its transpose, for all cores.

    Returns:
        As :func:`pack`. Of a matrix of up to ``LARGEST_OWN`` bytes no panels at all: each core then packs its own.
    """
    if matrix.nbytes <= LARGEST_OWN:
        return np.empty((0, 0, COLUMNS), matrix.dtype)
    depth, columns = reversed(matrix.shape) if transposed else matrix.shape
    panels = empty((_count(columns), depth, COLUMNS), matrix.dtype)
    on_all_cores(_fill_share_transposed if transposed else _fill_share, shares(len(panels), 1), (panels, matrix))
    return panels


@register_jitable  # type: ignore[untyped-decorator]
def _count(columns: int) -> int:
    """The number of panels for so many columns."""
    return (columns + COLUMNS - 1) // COLUMNS


@compiled_part
def _fill(begin: int, end: int, panels: Any, matrix: Any) -> None:
    """Fill the panels from ``begin`` to ``end`` with columns of a matrix."""
    depth, columns = matrix.shape
    flat_panels, flat_matrix = panels.reshape(-1), matrix.reshape(-1)
    for panel in range(begin, end):
        used = min(COLUMNS, columns - panel * COLUMNS)
        for k in range(depth):
            row = (panel * depth + k) * COLUMNS
            copy(((flat_matrix, k * columns + panel * COLUMNS),), ((flat_panels, row),), used)
            for n in range(used, COLUMNS):
                flat_panels[row + n] = 0


@compiled_part
def _fill_transposed(begin: int, end: int, panels: Any, matrix: Any) -> None:
    """Fill the panels from ``begin`` to ``end`` with rows of a matrix."""
    columns, depth = matrix.shape
    flat_panels, flat_matrix = panels.reshape(-1), matrix.reshape(-1)
    for panel in range(begin, end):
        used = min(COLUMNS, columns - panel * COLUMNS)
        for first in range(0, depth, _SQUARE):
            last = min(first + _SQUARE, depth)
            for n in range(used):
                row = (panel * COLUMNS + n) * depth
                for k in range(first, last):
                    flat_panels[(panel * depth + k) * COLUMNS + n] = flat_matrix[row + k]
            for k in range(first, last):
                for n in range(used, COLUMNS):
                    flat_panels[(panel * depth + k) * COLUMNS + n] = 0


@compiled
def _fill_share(begin: int, end: int, panels: Any, matrix: Any) -> None:
    _fill(begin, end, panels, matrix)


@compiled
def _fill_share_transposed(begin: int, end: int, panels: Any, matrix: Any) -> None:
    _fill_transposed(begin, end, panels, matrix)
