"""Products of matrices a core at a time, for loops that :mod:`numba` compiles.

A product is made of tiles: a few rows by a few vectors of columns, whose sums stay in registers while the core runs
along the inner dimension (Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication"). Loops that
Numba compiles keep such sums in memory, at a third of the speed, so the innermost loop is written in LLVM's language.
The right matrix is packed (:mod:`textgen_keras.kernels.packing`), so that what a tile reads of it lies side by side,
and stays in the first cache from one tile to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, register_jitable
from numpy.typing import NDArray

from textgen_keras.kernels.arrays import clear, empty, scratch, sum_of
from textgen_keras.kernels.jit import compiled_part
from textgen_keras.kernels.vectors import WIDTH, copy

# 16 sums of 16 numbers fit the 32 registers of AVX-512, 12 of 8 the 16 of AVX2, and twice as many half as wide NEON's.
#: Rows of a tile, and its columns, which are those of a panel of a packed matrix.
ROWS, COLUMNS = 4, WIDTH * (4 if WIDTH == 16 else 3)

# The same where a matrix ends and two vectors are enough: of more rows, so that other sums go on while one is added to.
_ROWS_AT_END, _COLUMNS_AT_END = 6, WIDTH * 2

#: What a tile runs along at a time, so that a panel's part stays in the first cache: 32 KiB at most.
DEPTH = 128


@register_jitable  # type: ignore[untyped-decorator]
def padded(columns: int) -> int:
    """Columns of the tiles that hold so many."""
    whole = columns // COLUMNS * COLUMNS
    rest = columns - whole
    return whole + (COLUMNS if rest > _COLUMNS_AT_END else _COLUMNS_AT_END if rest else 0)


def _make_tile(rows: int, columns: int) -> Callable[..., Any]:
    """A function that adds the product of some rows and a part of a panel to rows of sums.

    It takes flat arrays of one dtype: the sums, where to begin in them, and how far apart their rows are; the left
    matrix, where to begin, and how far apart are its rows, and the numbers of a row; the panels, and where to begin;
    and the inner dimension, 1 at least.
    """
    vectors = columns // WIDTH

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(
        typing_context: Any,
        sums: Any,
        sums_at: Any,
        sums_row: Any,
        left: Any,
        left_at: Any,
        left_row: Any,
        left_step: Any,
        panels: Any,
        panels_at: Any,
        depth: Any,
    ) -> Any:
        size = types.intp
        signature = types.void(sums, size, size, left, size, size, size, panels, size, size)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            number = context.get_data_type(sums.dtype)
            vector = ir.VectorType(number, WIDTH)
            fused = f"llvm.fma.v{WIDTH}{number.intrinsic_name}"
            fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), fused)
            align = sums.dtype.bitwidth // 8
            sums_value, first_sum, sums_row, left_value, first_left, left_row, left_step, panels_value = arguments[:8]
            first_right, depth = arguments[8:]

            def constant(value: int) -> Any:
                return ir.Constant(depth.type, value)

            def pointer(kind: Any, value: Any, at: Any) -> Any:
                return builder.gep(context.make_array(kind)(context, builder, value).data, [at])

            def row_of(start: Any, index: int, stride: Any) -> Any:
                return builder.gep(start, [builder.mul(stride, constant(index))])

            def vector_of(start: Any, index: int) -> Any:
                return builder.bitcast(builder.gep(start, [constant(index * WIDTH)]), vector.as_pointer())

            start = pointer(sums, sums_value, first_sum)
            sum_parts = [
                vector_of(row_of(start, row, sums_row), part) for row in range(rows) for part in range(vectors)
            ]
            start = pointer(left, left_value, first_left)
            left_rows = [row_of(start, row, left_row) for row in range(rows)]
            right = pointer(panels, panels_value, first_right)
            at_first = [builder.load(part, align=align) for part in sum_parts]
            before, loop, after = builder.block, *(builder.append_basic_block(name) for name in ("along", "done"))
            builder.branch(loop)

            builder.position_at_end(loop)
            k = builder.phi(depth.type)
            totals = [builder.phi(vector) for _ in sum_parts]
            start = builder.gep(right, [builder.mul(k, constant(COLUMNS))])
            rights = [builder.load(vector_of(start, part), align=align) for part in range(vectors)]
            lanes = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), None)
            undefined = ir.Constant(vector, ir.Undefined)
            new = []
            for row in range(rows):
                one = builder.load(builder.gep(left_rows[row], [builder.mul(k, left_step)]))
                everywhere = builder.shuffle_vector(
                    builder.insert_element(undefined, one, constant(0)), undefined, lanes
                )
                of_row = totals[row * vectors : (row + 1) * vectors]
                new += [builder.call(fma, [everywhere, *pair]) for pair in zip(rights, of_row, strict=True)]
            next_k = builder.add(k, constant(1))
            for phi, first, later in zip([k, *totals], [constant(0), *at_first], [next_k, *new], strict=True):
                phi.add_incoming(first, before)
                phi.add_incoming(later, loop)
            builder.cbranch(builder.icmp_signed("<", next_k, depth), loop, after)

            builder.position_at_end(after)
            for total, part in zip(new, sum_parts, strict=True):
                builder.store(total, part, align=align)
            return context.get_dummy_value()

        return signature, generate

    return tile  # type: ignore[no-any-return]


def _make_strip(tile_rows: int, columns: int) -> Callable[..., Any]:
    """A function that makes tiles of any number of rows, its first argument; the others are those of tiles."""
    several, one = _make_tile(tile_rows, columns), _make_tile(1, columns)

    @compiled_part
    def strip(
        rows: int,
        sums: Any,
        sums_at: int,
        sums_row: int,
        left: Any,
        left_at: int,
        left_row: int,
        left_step: int,
        panels: Any,
        panels_at: int,
        depth: int,
    ) -> None:
        whole = rows - rows % tile_rows
        for row in range(0, whole, tile_rows):
            at, of_left = sums_at + row * sums_row, left_at + row * left_row
            several(sums, at, sums_row, left, of_left, left_row, left_step, panels, panels_at, depth)
        for row in range(whole, rows):
            at, of_left = sums_at + row * sums_row, left_at + row * left_row
            one(sums, at, sums_row, left, of_left, left_row, left_step, panels, panels_at, depth)

    return strip


_wide, _at_end = _make_strip(ROWS, COLUMNS), _make_strip(_ROWS_AT_END, _COLUMNS_AT_END)


@compiled_part
def add_product(sums: Any, left: Any, panels: Any) -> None:
    """``sums += left @ right``.

    Args:
        sums: ``[M, padded(N)]``; what lies beyond N means nothing.
        left: ``[M, K]``.
        panels: the right matrix ``[K, N]``, of :func:`~textgen_keras.kernels.packing.pack`; one dtype, contiguous.
    """
    rows, inner = left.shape
    width = sums.shape[1]
    flat_sums, flat_left, flat_panels = sums.reshape(-1), left.reshape(-1), panels.reshape(-1)
    for column in range(0, width, COLUMNS):
        for begin in range(0, inner, DEPTH):
            depth = min(DEPTH, inner - begin)
            right = column * inner + begin * COLUMNS
            if width - column < COLUMNS:
                _at_end(rows, flat_sums, column, width, flat_left, begin, inner, 1, flat_panels, right, depth)
            else:
                _wide(rows, flat_sums, column, width, flat_left, begin, inner, 1, flat_panels, right, depth)


@compiled_part
def spread(columns: int) -> int:
    """A width of rows for so many columns with which those below each other do not share a place in a cache."""
    return (columns + 15) // 32 * 32 + 16  # in float32 an odd number of lines of the cache


@compiled_part
def add_outer_products(sums: Any, left: Any, right: Any) -> None:
    """``sums += left.T @ right``: the sum of outer products of rows.

    Args:
        sums: ``[M, padded(N)]``; what lies beyond N means nothing.
        left: ``[K, M]``, or wider: see :func:`spread`.
        right: ``[K, N]``; all of one dtype and contiguous.
    """
    inner, stride = left.shape
    rows, width = sums.shape
    columns = right.shape[1]
    panel = scratch(DEPTH * COLUMNS, sums)
    clear(panel)
    flat_sums, flat_left, flat_right = sums.reshape(-1), left.reshape(-1), right.reshape(-1)
    for begin in range(0, inner, DEPTH):
        depth = min(DEPTH, inner - begin)
        for column in range(0, width, COLUMNS):
            there = min(COLUMNS, columns - column)
            for k in range(depth):
                at = (begin + k) * columns + column
                copy(((flat_right, at),), ((panel, k * COLUMNS),), (), there)
            of_left = begin * stride
            if width - column < COLUMNS:
                _at_end(rows, flat_sums, column, width, flat_left, of_left, 1, stride, panel, 0, depth)
            else:
                _wide(rows, flat_sums, column, width, flat_left, of_left, 1, stride, panel, 0, depth)


def sums_for(matrix: NDArray[Any]) -> NDArray[Any]:
    """Room for :func:`add_outer_products` to make the gradient of a matrix in; it is to be cleared first."""
    rows, columns = matrix.shape
    return empty((rows, padded(columns)), matrix.dtype)


def sums_from(parts: Sequence[NDArray[Any]], matrix: NDArray[Any]) -> NDArray[Any]:
    """The gradient of a matrix, of the parts that :func:`sums_for` was asked for."""
    return np.ascontiguousarray(sum_of(parts)[:, : matrix.shape[1]])
