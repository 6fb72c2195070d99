"""The WebAssembly module of the engine, with SIMD: products of a vector and a matrix, sigmoid and tanh.

All arguments are addresses in the memory that the module imports, or numbers of things. Matrices lie in panels of
:data:`PANEL` columns, one after the other, and each panel has its rows one after the other. A panel has eight sums in
registers: with fewer, an addition would wait for the one before it.

``product(x, w, addend, out, rows, panels)``
    ``out[j] = addend[j] + sum of x[i] * w[i, j]`` over ``i < rows``, in float32.
``product_int8(x, w, out, pairs, panels)``
    ``out[j] = sum of x[i] * w[i, j]`` over ``i < 2 * pairs``: x is int16, w int8, the sum int32, and out float32. In a
    panel, the numbers of two rows take turns.
``sigmoid(x, vectors)``, ``tanh(x, vectors)``
    In place, of four float32 numbers per vector.

The instructions are those of https://webassembly.github.io/spec/core/binary/instructions.html.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from functools import partial

#: Columns of a panel; ``js/kernel.js`` has the same number.
PANEL = 32

#: Rational approximations: where they hold, the coefficients of numerator and denominator by falling powers of x², and
#: what is added. Those of ONNX Runtime (MLAS, ``logistic.cpp`` and ``tanh.cpp``, after Eigen), so that an int8 export
#: rounds the outputs of layers as an ONNX export does.
SIGMOID = (
    18.0,
    [4.37031012579801e-11, 1.15627324459942e-07, 6.08574864600143e-05, 8.51377133304701e-03, 2.48287947061529e-01],
    [
        *(6.10247389755681e-13, 5.76102136993427e-09, 6.29106785017040e-06, 1.70198817374094e-03),
        *(1.16817656904453e-01, 9.93151921023180e-01),
    ],
    0.5,
)
TANH = (
    9.0,
    [
        *(-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08),
        *(1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
    ],
    [1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03],
    0.0,
)

Rational = tuple[float, Sequence[float], Sequence[float], float]

_VECTORS = PANEL // 4

_I32, _V128 = 0x7F, 0x7B
_BLOCK, _LOOP, _END = b"\x02\x40", b"\x03\x40", b"\x0b"
_EQZ, _LESS, _ADD, _SUBTRACT, _SHIFT = b"\x45", b"\x49", b"\x6a", b"\x6b", b"\x74"
_VECTOR_ADD, _VECTOR_MULTIPLY, _VECTOR_DIVIDE, _LEAST, _LARGEST = (
    bytes([0xFD, n, 1]) for n in (228, 230, 231, 232, 233)
)
_LOW, _HIGH, _DOT, _VECTOR_ADD_INT, _TO_FLOAT = (bytes([0xFD, n, 1]) for n in (135, 136, 186, 174, 250))


def kernel_module() -> bytes:
    """The module: it imports ``env.memory`` and exports the functions."""
    functions = {
        "product": _function(6, _VECTORS + 1, 2, _product),
        "product_int8": _function(5, _VECTORS + 2, 2, _product_int8),
        "sigmoid": _function(2, 2, 0, partial(_rational, SIGMOID)),
        "tanh": _function(2, 2, 0, partial(_rational, TANH)),
    }
    types = [b"\x60" + _vector([bytes([_I32])] * count) + _vector([]) for count, _ in functions.values()]
    exports = [_name(name) + b"\x00" + _number(place) for place, name in enumerate(functions)]
    sections = {
        1: types,
        2: [_name("env") + _name("memory") + b"\x02\x00" + _number(0)],
        3: [_number(place) for place in range(len(functions))],
        7: exports,
        10: [_number(len(body)) + body for _, body in functions.values()],
    }
    parts = [bytes([number]) + _number(len(part := _vector(items))) + part for number, items in sections.items()]
    return b"\0asm" + (1).to_bytes(4, "little") + b"".join(parts)


def _function(parameters: int, vectors: int, numbers: int, write: Callable[..., bytes]) -> tuple[int, bytes]:
    """The number of parameters, and a body that is written given the names of parameters and locals."""
    local = _vector([_number(vectors) + bytes([_V128]), _number(numbers) + bytes([_I32])])
    return parameters, local + write(*range(parameters + vectors + numbers)) + _END


def _product(x: int, w: int, addend: int, out: int, rows: int, panels: int, *local: int) -> bytes:
    *sums, value, at, last = local
    row = _get(at) + _splat() + _set(value)
    for place, total in enumerate(sums):
        row += _get(total) + _get(value) + _get(w) + _load(16 * place) + _VECTOR_MULTIPLY + _VECTOR_ADD + _set(total)
    panel = b"".join(_get(addend) + _load(16 * place) + _set(total) for place, total in enumerate(sums))
    panel += _over(row, x, w, 4 * PANEL, rows, at, last) + _advance(addend, 4 * PANEL)
    panel += b"".join(_get(out) + _get(total) + _store(16 * place) for place, total in enumerate(sums))
    return _repeat(panel + _advance(out, 4 * PANEL), panels)


def _product_int8(x: int, w: int, out: int, pairs: int, panels: int, *local: int) -> bytes:
    *sums, value, numbers, at, last = local
    row = _get(at) + _splat() + _set(value)
    for place, both in enumerate(zip(sums[::2], sums[1::2], strict=True)):
        row += _get(w) + _load(16 * place) + _set(numbers)
        for total, half in zip(both, (_LOW, _HIGH), strict=True):
            row += _get(total) + _get(numbers) + half + _get(value) + _DOT + _VECTOR_ADD_INT + _set(total)
    panel = b"".join(_constant(0) + b"\xfd\x11" + _set(total) for total in sums)
    panel += _over(row, x, w, 2 * PANEL, pairs, at, last)
    for place, total in enumerate(sums):
        panel += _get(out) + _get(total) + _TO_FLOAT + _store(16 * place)
    return _repeat(panel + _advance(out, 4 * PANEL), panels)


def _over(row: bytes, x: int, w: int, width: int, rows: int, at: int, last: int) -> bytes:
    """Repeat what is done with 4 bytes of x and a row of a panel."""
    begin = _get(x) + _set(at) + _get(x) + _get(rows) + _constant(2) + _SHIFT + _ADD + _set(last)
    step = _advance(w, width) + _advance(at, 4) + _get(at) + _get(last) + _LESS + _branch_if(0)
    return begin + _LOOP + row + step + _END


def _rational(formula: Rational, x: int, vectors: int, value: int, square: int) -> bytes:
    bound, numerator, denominator, added = formula
    one = _get(x) + _load(0) + _floats(-bound) + _LARGEST + _floats(bound) + _LEAST + _set(value)
    one += _get(value) + _get(value) + _VECTOR_MULTIPLY + _set(square) + _get(x)
    one += _polynomial(numerator, square) + _get(value) + _VECTOR_MULTIPLY + _polynomial(denominator, square)
    one += _VECTOR_DIVIDE + _floats(added) + _VECTOR_ADD + _store(0)
    return _repeat(one + _advance(x, 16), vectors)


def _polynomial(coefficients: Sequence[float], square: int) -> bytes:
    first, *others = map(_floats, coefficients)
    return first + b"".join(_get(square) + _VECTOR_MULTIPLY + each + _VECTOR_ADD for each in others)


def _repeat(body: bytes, count: int) -> bytes:
    """Repeat a body as often as a local says, which is counted down."""
    less = _get(count) + _constant(1) + _SUBTRACT + _set(count)
    return _BLOCK + _LOOP + _get(count) + _EQZ + _branch_if(1) + body + less + _branch(0) + _END + _END


def _number(value: int) -> bytes:
    """An unsigned number in LEB128."""
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _number(high) if high else bytes([low])


def _vector(items: Iterable[bytes]) -> bytes:
    items = list(items)
    return _number(len(items)) + b"".join(items)


def _name(text: str) -> bytes:
    return _vector([bytes([letter]) for letter in text.encode()])


def _get(local: int) -> bytes:
    return b"\x20" + _number(local)


def _set(local: int) -> bytes:
    return b"\x21" + _number(local)


def _constant(value: int) -> bytes:
    """A number from 0 to 8191, signed: bit 6 of the last byte is its sign."""
    return b"\x41" + (_number(value) if value < 64 else bytes([value & 0x7F | 0x80]) + _number(value >> 7))


def _floats(value: float) -> bytes:
    """Four times the same number."""
    return b"\xfd\x0c" + 4 * struct.pack("<f", value)


def _advance(local: int, by: int) -> bytes:
    return _get(local) + _constant(by) + _ADD + _set(local)


def _load(offset: int) -> bytes:
    return b"\xfd\x00" + _number(2) + _number(offset)


def _splat() -> bytes:
    return b"\xfd\x09" + _number(2) + _number(0)


def _store(offset: int) -> bytes:
    return b"\xfd\x0b" + _number(2) + _number(offset)


def _branch(depth: int) -> bytes:
    return b"\x0c" + _number(depth)


def _branch_if(depth: int) -> bytes:
    return b"\x0d" + _number(depth)
