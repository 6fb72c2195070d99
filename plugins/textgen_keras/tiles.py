"""Products of matrices a core at a time, for loops that :mod:`numba` compiles.

A product is made of tiles: a few rows by a few vectors of columns, whose sums stay in registers while the core runs
along the inner dimension (Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication"). Loops that
Numba compiles keep such sums in memory, at a third of the speed, so the innermost loop is written in LLVM's language.
The right matrix is packed, so that what a tile reads of it lies side by side, and stays in the first cache from one
tile to the next.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

# 16 sums of 16 numbers fit the 32 registers of AVX-512, 12 of 8 the 16 of AVX2, and twice as many half as wide NEON's.
_IS_WIDE = bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))
WIDTH, _VECTORS = (16, 4) if _IS_WIDE else (8, 3)

#: Rows of a tile.
ROWS = 4

#: Columns of a tile, and of a panel of a packed matrix.
COLUMNS = WIDTH * _VECTORS

#: What a tile runs along at a time, so that a panel's part stays in the first cache: 32 KiB at most.
DEPTH = 128

#: The files whose functions become parts of compiled ones.
_PARTS = [Path(__file__), Path(__file__).with_name("formulas.py")]

#: Of a processor's vectors, in bytes: those that begin elsewhere span two lines of the cache each.
_ALIGNMENT = 64

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}}


def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a function of arrays at its first call, and keep the machine code for other processes.

    It runs without Python's lock, and rounds as written, but that a product and a sum may be one operation.
    """
    # Numba names a file after the function, and looks only at the function's own source: not at its parts'.
    sources = b"".join(path.read_bytes() for path in (*_PARTS, Path(function.__code__.co_filename)))
    function.__qualname__ += f"-{hashlib.sha256(sources).hexdigest()[:16]}"
    without_keeping = numba.njit(nogil=True, **_OPTIONS)
    try:
        machine_code = numba.njit(nogil=True, cache=True, **_OPTIONS)(function)
    except RuntimeError:  # there is no folder to keep it in
        machine_code = without_keeping(function)

    def run(*arguments: Any) -> None:
        nonlocal machine_code
        try:
            machine_code(*arguments)
        except (OSError, EOFError, pickle.UnpicklingError):  # a disk is full, or a file damaged: nothing was called yet
            machine_code = without_keeping(function)
            machine_code(*arguments)

    return run


def compiled_part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Like :func:`compiled`, for a function that compiled ones alone call: it becomes a part of them."""
    jit = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)
    return jit(function)  # type: ignore[no-any-return]


def empty(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Like :func:`numpy.empty`, and aligned to the processor's vectors."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
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
    """Raise ``ValueError`` for a number that is not one of a row of so many: compiled functions do not look."""
    if index.size and not 0 <= index.min() <= index.max() < size:
        raise ValueError(f"ids must be from 0 to {size - 1}, got {index.min()} to {index.max()}")


def padded(columns: int) -> int:
    """Columns of the whole panels that hold so many."""
    return -(-columns // COLUMNS) * COLUMNS


def pack(matrix: NDArray[Any]) -> NDArray[Any]:
    """``[K, N]`` → panels ``[padded(N) / COLUMNS, K, COLUMNS]``; columns beyond N are 0."""
    depth, columns = matrix.shape
    panels = empty((padded(columns) // COLUMNS, depth, COLUMNS), matrix.dtype)
    for panel, begin in enumerate(range(0, columns, COLUMNS)):
        there = matrix[:, begin : begin + COLUMNS]
        panels[panel, :, : there.shape[1]] = there
        panels[panel, :, there.shape[1] :] = 0
    return panels


def sums_for(matrix: NDArray[Any]) -> NDArray[Any]:
    """Zeros for :func:`add_outer_products` to make the gradient of a matrix of."""
    rows, columns = matrix.shape
    return zeros((rows, padded(columns)), matrix.dtype)


def sums_from(parts: Sequence[NDArray[Any]], matrix: NDArray[Any]) -> NDArray[Any]:
    """The gradient of a matrix, of the parts that :func:`sums_for` was asked for."""
    return np.ascontiguousarray(sum_of(parts)[:, : matrix.shape[1]])


def sum_of(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The sum of arrays, in the first of them and in their order; one that comes again counts once."""
    total, *others = parts
    for part in others:
        if part is not total:
            total += part
    return total


def _make_tile(rows: int) -> Callable[..., Any]:
    """A function that adds the product of ``rows`` rows and a part of a panel to ``rows`` rows of ``COLUMNS`` sums.

    It takes flat arrays of one dtype: the sums, where to begin in them, and how far apart their rows are; the left
    matrix, where to begin, and how far apart are its rows, and the numbers of a row; the panels, and where to begin;
    and the inner dimension, 1 at least.
    """

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
                vector_of(row_of(start, row, sums_row), part) for row in range(rows) for part in range(_VECTORS)
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
            rights = [builder.load(vector_of(start, part), align=align) for part in range(_VECTORS)]
            lanes = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), None)
            undefined = ir.Constant(vector, ir.Undefined)
            new = []
            for row in range(rows):
                one = builder.load(builder.gep(left_rows[row], [builder.mul(k, left_step)]))
                everywhere = builder.shuffle_vector(
                    builder.insert_element(undefined, one, constant(0)), undefined, lanes
                )
                of_row = totals[row * _VECTORS : (row + 1) * _VECTORS]
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


_tile, _row = _make_tile(ROWS), _make_tile(1)


@compiled_part
def clear(array: Any) -> None:
    """Make all of a contiguous array 0."""
    flat = array.reshape(-1)
    for n in range(len(flat)):
        flat[n] = 0


@compiled_part
def add_product(sums: Any, left: Any, panels: Any) -> None:
    """``sums += left @ right``.

    Args:
        sums: ``[M, padded(N)]``; what lies beyond N means nothing.
        left: ``[M, K]``.
        panels: the right matrix ``[K, N]`` as :func:`pack` gives it; all of one dtype and contiguous.
    """
    rows, inner = left.shape
    width = sums.shape[1]
    flat_sums, flat_left, flat_panels = sums.reshape(-1), left.reshape(-1), panels.reshape(-1)
    for column in range(0, width, COLUMNS):
        for begin in range(0, inner, DEPTH):
            depth = min(DEPTH, inner - begin)
            right = column * inner + begin * COLUMNS
            for row in range(0, rows - ROWS + 1, ROWS):
                at = row * width + column
                _tile(flat_sums, at, width, flat_left, row * inner + begin, inner, 1, flat_panels, right, depth)
            for row in range(rows - rows % ROWS, rows):
                at = row * width + column
                _row(flat_sums, at, width, flat_left, row * inner + begin, inner, 1, flat_panels, right, depth)


@compiled_part
def spread(columns: int) -> int:
    """A width of rows for so many columns with which those below each other do not share a place in a cache."""
    return (columns + 15) // 32 * 32 + 16  # an odd number of 64 bytes


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
    panel = np.zeros((DEPTH, COLUMNS), sums.dtype)
    flat_sums, flat_left, flat_panel = sums.reshape(-1), left.reshape(-1), panel.reshape(-1)
    for begin in range(0, inner, DEPTH):
        depth = min(DEPTH, inner - begin)
        for column in range(0, width, COLUMNS):
            for k in range(depth):
                of_row = right[begin + k, column : column + COLUMNS]
                for n in range(len(of_row)):
                    panel[k, n] = of_row[n]
            for row in range(0, rows - ROWS + 1, ROWS):
                at, of_left = row * width + column, begin * stride + row
                _tile(flat_sums, at, width, flat_left, of_left, 1, stride, flat_panel, 0, depth)
            for row in range(rows - rows % ROWS, rows):
                at, of_left = row * width + column, begin * stride + row
                _row(flat_sums, at, width, flat_left, of_left, 1, stride, flat_panel, 0, depth)
