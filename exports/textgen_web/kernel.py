"""The WebAssembly module of the engine: the product of a vector and a matrix, with SIMD.

``product(x, w, addend, out, rows, panels)`` computes ``out[j] = addend[j] + sum of x[i] * w[i, j]`` over ``i < rows``
in float32. The first four are addresses in the memory that the module imports; ``w`` has panels of :data:`PANEL`
columns, one after the other, and each panel has its rows one after the other. A panel has eight sums in registers: with
fewer, a product would wait for the sum before it.

The instructions are those of https://webassembly.github.io/spec/core/binary/instructions.html.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Columns of a panel; ``js/kernel.js`` has the same number.
PANEL = 32

_VECTORS = PANEL // 4

# Types, and instructions without arguments.
_I32, _V128, _NOTHING = 0x7F, 0x7B, 0x40
_BLOCK, _LOOP, _END = bytes([0x02, _NOTHING]), bytes([0x03, _NOTHING]), b"\x0b"
_EQZ, _LESS, _ADD, _SUBTRACT, _SHIFT = b"\x45", b"\x49", b"\x6a", b"\x6b", b"\x74"
_VECTOR_MULTIPLY, _VECTOR_ADD = b"\xfd\xe6\x01", b"\xfd\xe4\x01"

# The locals: the parameters, then the sums, one number in four places, and the address of a number and the last one.
_X, _W, _ADDEND, _OUT, _ROWS, _PANELS = range(6)
_SUMS = range(6, 6 + _VECTORS)
_VALUE, _AT, _LAST = range(_SUMS.stop, _SUMS.stop + 3)


def product_module() -> bytes:
    """The module: it imports ``env.memory`` and exports ``product``."""
    types = _vector([b"\x60" + _vector([bytes([_I32])] * 6) + _vector([])])
    imports = _vector([_name("env") + _name("memory") + b"\x02\x00" + _number(0)])
    exports = _vector([_name("product") + b"\x00" + _number(0)])
    local = _vector([_number(_VECTORS + 1) + bytes([_V128]), _number(2) + bytes([_I32])])
    body = local + _product() + _END
    code = _vector([_number(len(body)) + body])
    sections = {1: types, 2: imports, 3: _vector([_number(0)]), 7: exports, 10: code}
    parts = [bytes([number]) + _number(len(content)) + content for number, content in sections.items()]
    return b"\0asm" + (1).to_bytes(4, "little") + b"".join(parts)


def _product() -> bytes:
    add_row = b"".join(
        _get(total) + _get(_VALUE) + _get(_W) + _load(16 * place) + _VECTOR_MULTIPLY + _VECTOR_ADD + _set(total)
        for place, total in enumerate(_SUMS)
    )
    rows = _LOOP + _get(_AT) + _splat() + _set(_VALUE) + add_row
    rows += _advance(_W, 4 * PANEL) + _advance(_AT, 4) + _get(_AT) + _get(_LAST) + _LESS + _branch_if(0) + _END
    panel = b"".join(_get(_ADDEND) + _load(16 * place) + _set(total) for place, total in enumerate(_SUMS))
    panel += _get(_X) + _set(_AT) + _get(_X) + _get(_ROWS) + _constant(2) + _SHIFT + _ADD + _set(_LAST) + rows
    panel += b"".join(_get(_OUT) + _get(total) + _store(16 * place) for place, total in enumerate(_SUMS))
    panel += _advance(_ADDEND, 4 * PANEL) + _advance(_OUT, 4 * PANEL)
    panel += _get(_PANELS) + _constant(1) + _SUBTRACT + _set(_PANELS) + _branch(0)
    return _BLOCK + _LOOP + _get(_PANELS) + _EQZ + _branch_if(1) + panel + _END + _END


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
    """A number below 64 or, as its sign is bit 6 of the last byte, one that takes a byte more."""
    return b"\x41" + (_number(value) if value < 64 else bytes([value & 0x7F | 0x80]) + _number(value >> 7))


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
