"""Products of matrices on one core, for functions that :mod:`numba` compiles.

A product is made of tiles: a few rows by a few vectors of columns, whose sums stay in registers while the core runs
along the inner dimension (Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication"). Numba's own
loops keep such sums in memory, at a third of the speed, so a tile's loop is written in LLVM's language. The right
matrix is packed in panels (:mod:`textgen_keras.kernels.packing`): what a tile reads of it is contiguous, and stays in
the first cache from one tile to the next. See docs/kernels.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, register_jitable

from textgen_keras.kernels.arrays import Array, clear, empty, scratch, sum_of
from textgen_keras.kernels.jit import compiled_part
from textgen_keras.kernels.vectors import WIDTH, copy

# AVX-512 has 32 registers of 16 float32: 4 rows by 4 vectors of sums leave room for a row of the panel. AVX2 has 16
# registers of 8: 4 rows by 3 vectors. NEON has 32 of 4, two for each vector of 8.
#: The rows of a tile and its columns, which are also the columns of a panel.
ROWS, COLUMNS = 4, WIDTH * (4 if WIDTH == 16 else 3)

# A narrower tile, for the last columns of a matrix if they fit. It has more rows, so that the processor has enough
# independent sums to work on while one is being added to.
_NARROW_ROWS, _NARROW_COLUMNS = 6, WIDTH * 2

#: The part of the inner dimension that tiles run along at a time, so that it and a panel's part fit the first cache: in
#: float32 that part of a panel is 32 KiB at most.
DEPTH = 128


class Matrix(NamedTuple):
    """A matrix in a flat array: element (i, k) is at ``begin + i * row + k * column``."""

    flat: Any
    begin: int
    row: int
    column: int


class Panel(NamedTuple):
    """Some rows of a panel, ``[depth, COLUMNS]``, in a flat array."""

    flat: Any
    begin: int


@register_jitable  # type: ignore[untyped-decorator]
def padded(columns: int) -> int:
    """``columns`` rounded up to whole tiles."""
    whole = columns // COLUMNS * COLUMNS
    rest = columns - whole
    return whole + (COLUMNS if rest > _NARROW_COLUMNS else _NARROW_COLUMNS if rest else 0)


def _make_tile(rows: int, columns: int) -> Callable[..., Any]:
    """Make a function that adds the product of some rows and a part of a panel to a tile of sums.

    Returns:
        ``tile(first, sums, left, right, depth)`` for compiled code: ``sums[first : first + rows, :columns] +=
        left[first : first + rows, :depth] @ right[:depth, :columns]``, where ``sums`` and ``left`` are each a
        :class:`Matrix`, ``right`` is a :class:`Panel`, all have one dtype, and ``depth`` is at least 1.
    """
    vectors = columns // WIDTH

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(typing_context: Any, first: Any, sums: Any, left: Any, right: Any, depth: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            element = sums[0].dtype
            number = context.get_data_type(element)
            align = element.bitwidth // 8
            vector = ir.VectorType(number, WIDTH)
            fused = f"llvm.fma.v{WIDTH}{number.intrinsic_name}"
            fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), fused)
            first, depth = arguments[0], arguments[4]

            def constant(value: int) -> Any:
                return ir.Constant(depth.type, value)

            def unpacked(kind: Any, value: Any) -> list[Any]:
                """The pointer to where a matrix or panel begins, and the strides of a matrix."""
                flat, *numbers = cgutils.unpack_tuple(builder, value)
                begin, *strides = [
                    context.cast(builder, number, given, types.intp)
                    for number, given in zip(numbers, list(kind)[1:], strict=True)
                ]
                return [builder.gep(context.make_array(kind[0])(context, builder, flat).data, [begin]), *strides]

            def moved(pointer: Any, count: Any, stride: Any) -> Any:
                return builder.gep(pointer, [builder.mul(stride, count)])

            def rows_of(kind: Any, value: Any) -> tuple[list[Any], Any]:
                """Pointers to the rows of a matrix that belong to the tile, and the stride of its columns."""
                start, row_stride, column_stride = unpacked(kind, value)
                start = moved(start, first, row_stride)
                return [moved(start, constant(row), row_stride) for row in range(rows)], column_stride

            def vector_of(pointer: Any, index: int) -> Any:
                return builder.bitcast(moved(pointer, constant(index), constant(WIDTH)), vector.as_pointer())

            sum_rows, _ = rows_of(sums, arguments[1])
            places = [vector_of(row, part) for row in sum_rows for part in range(vectors)]
            left_rows, left_column = rows_of(left, arguments[2])
            (panel,) = unpacked(right, arguments[3])

            # The sums, [rows, vectors], are loaded once, stay in registers during the loop, and are stored once.
            sums_before = [builder.load(place, align=align) for place in places]
            before, loop, after = builder.block, *(builder.append_basic_block(name) for name in ("along", "done"))
            builder.branch(loop)

            builder.position_at_end(loop)
            k = builder.phi(depth.type)
            totals = [builder.phi(vector) for _ in places]
            panel_row = moved(panel, k, constant(COLUMNS))
            rights = [builder.load(vector_of(panel_row, part), align=align) for part in range(vectors)]
            lanes = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), None)
            undefined = ir.Constant(vector, ir.Undefined)
            new = []
            for row in range(rows):
                # left[row, k] in all lanes of a vector, times each vector of the panel's row, plus the sums so far.
                one = builder.load(moved(left_rows[row], k, left_column))
                lane = builder.insert_element(undefined, one, constant(0))
                repeated = builder.shuffle_vector(lane, undefined, lanes)
                of_row = totals[row * vectors : (row + 1) * vectors]
                new += [builder.call(fma, [repeated, *pair]) for pair in zip(rights, of_row, strict=True)]
            next_k = builder.add(k, constant(1))
            for phi, initial, later in zip([k, *totals], [constant(0), *sums_before], [next_k, *new], strict=True):
                phi.add_incoming(initial, before)
                phi.add_incoming(later, loop)
            builder.cbranch(builder.icmp_signed("<", next_k, depth), loop, after)

            builder.position_at_end(after)
            for total, place in zip(new, places, strict=True):
                builder.store(total, place, align=align)
            return context.get_dummy_value()

        return types.void(types.intp, sums, left, right, types.intp), generate

    return tile  # type: ignore[no-any-return]


def _make_strip(tile_rows: int, columns: int) -> Callable[..., Any]:
    """Make a function that runs tiles down all rows: ``strip(rows, sums, left, right, depth)``."""
    several, one = _make_tile(tile_rows, columns), _make_tile(1, columns)

    def strip(rows: int, sums: Any, left: Any, right: Any, depth: int) -> None:
        whole = rows - rows % tile_rows
        for first in range(0, whole, tile_rows):
            several(first, sums, left, right, depth)
        for first in range(whole, rows):
            one(first, sums, left, right, depth)

    # Numba names machine code after the function, its types and a count of the process. Processes that find the machine
    # code of others count differently, so two functions of one name could be taken for each other.
    strip.__qualname__ = f"strip_of_{tile_rows}_by_{columns}"
    return compiled_part(strip)


_wide, _narrow = _make_strip(ROWS, COLUMNS), _make_strip(_NARROW_ROWS, _NARROW_COLUMNS)


@compiled_part
def add_product(sums: Any, left: Any, panels: Any) -> None:
    """``sums += left @ right``.

    Args:
        sums: ``[M, padded(N)]``; the columns beyond N are undefined.
        left: ``[M, K]``.
        panels: the right matrix ``[K, N]`` as :func:`~textgen_keras.kernels.packing.pack` returns it. All arrays have
            one dtype and are contiguous.
    """
    rows, inner = left.shape
    width = sums.shape[1]
    flat_sums, flat_left, flat_panels = sums.reshape(-1), left.reshape(-1), panels.reshape(-1)
    for column in range(0, width, COLUMNS):
        for begin in range(0, inner, DEPTH):
            depth = min(DEPTH, inner - begin)
            to = Matrix(flat_sums, column, width, 1)
            factor = Matrix(flat_left, begin, inner, 1)
            panel = Panel(flat_panels, column * inner + begin * COLUMNS)
            if width - column < COLUMNS:
                _narrow(rows, to, factor, panel, depth)
            else:
                _wide(rows, to, factor, panel, depth)


@compiled_part
def spread(columns: int) -> int:
    """``columns`` rounded up so that numbers below each other in a matrix do not compete for one set of the cache."""
    return (columns + 15) // 32 * 32 + 16  # in float32 an odd number of lines of the cache


@compiled_part
def add_outer_products(sums: Any, left: Any, right: Any) -> None:
    """``sums += left.T @ right``: the sum of the outer products of K pairs of rows.

    Args:
        sums: ``[M, padded(N)]``; the columns beyond N are undefined.
        left: ``[K, M]`` or wider, preferably :func:`spread` ``(M)``: it is read column by column.
        right: ``[K, N]``. All arrays have one dtype and are contiguous.
    """
    inner, stride = left.shape
    rows, width = sums.shape
    columns = right.shape[1]
    packed = scratch(DEPTH * COLUMNS, sums)
    clear(packed)
    flat_sums, flat_left, flat_right = sums.reshape(-1), left.reshape(-1), right.reshape(-1)
    for begin in range(0, inner, DEPTH):
        depth = min(DEPTH, inner - begin)
        for column in range(0, width, COLUMNS):
            used = min(COLUMNS, columns - column)
            for k in range(depth):
                copy(((flat_right, (begin + k) * columns + column),), ((packed, k * COLUMNS),), used)
            to = Matrix(flat_sums, column, width, 1)
            factor = Matrix(flat_left, begin * stride, 1, stride)  # the transpose of `left`
            panel = Panel(packed, 0)
            if width - column < COLUMNS:
                _narrow(rows, to, factor, panel, depth)
            else:
                _wide(rows, to, factor, panel, depth)


def sums_for(matrix: Array) -> Array:
    """Room for the gradient of a matrix, for :func:`add_outer_products`; not initialized."""
    rows, columns = matrix.shape
    return empty((rows, padded(columns)), matrix.dtype)


def sums_from(parts: Sequence[Array], matrix: Array) -> Array:
    """The gradient of a matrix: the sum of parts that were made by :func:`sums_for`, without padding."""
    return np.ascontiguousarray(sum_of(parts)[:, : matrix.shape[1]])
