"""Formulas over rows of numbers, for loops that :mod:`numba` compiles: one pass, in the processor's vectors.

Numba's own loops over many arrays are vectors only where it can prove in time that none overlaps another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

#: Numbers of a vector.
WIDTH = 16 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 8

# A product and a sum may be one operation; all else is as written.
_FLAGS = ("contract",)


@dataclass(frozen=True)
class Vector:
    """Numbers that a formula treats alike, as a value in LLVM's language."""

    builder: Any
    value: Any

    def _with(self, operation: str, other: Vector | float, *, swapped: bool = False) -> Vector:
        pair = [self.value, other.value if isinstance(other, Vector) else self._everywhere(other)]
        return Vector(
            self.builder, getattr(self.builder, operation)(*reversed(pair) if swapped else pair, flags=_FLAGS)
        )

    def _everywhere(self, number: float) -> Any:
        kind = self.value.type
        return ir.Constant(kind, [ir.Constant(kind.element, number)] * kind.count)

    def __add__(self, other: Vector | float) -> Vector:
        return self._with("fadd", other)

    def __sub__(self, other: Vector | float) -> Vector:
        return self._with("fsub", other)

    def __rsub__(self, other: float) -> Vector:
        return self._with("fsub", other, swapped=True)

    def __mul__(self, other: Vector | float) -> Vector:
        return self._with("fmul", other)

    def __truediv__(self, other: Vector | float) -> Vector:
        return self._with("fdiv", other)

    __radd__, __rmul__ = __add__, __mul__

    def clipped(self, largest: float) -> Vector:
        """Between ``-largest`` and ``largest``; what is not a number stays so."""
        value = self.value
        for sign, limit in ((">", largest), ("<", -largest)):
            beyond = self.builder.fcmp_ordered(sign, value, self._everywhere(limit))
            value = self.builder.select(beyond, self._everywhere(limit), value)
        return Vector(self.builder, value)


def tanh(x: Vector) -> Vector:
    """The hyperbolic tangent; in float32 the rational approximation of Eigen's ``ptanh_float``, good to 5e-7."""
    kind = x.value.type
    if not isinstance(kind.element, ir.FloatType):
        name = f"llvm.tanh.v{kind.count}{kind.element.intrinsic_name}"
        return Vector(x.builder, _call(x.builder, name, kind, x.value))
    x = x.clipped(7.90531110763549805)  # beyond, it is 1 in float32
    s = x * x
    above = s * -2.76076847742355e-16 + 2.00018790482477e-13
    for coefficient in (-8.60467152213735e-11, 5.12229709037114e-08, 1.48572235717979e-05, 6.37261928875436e-04):
        above = s * above + coefficient
    below = s * 1.19825839466702e-06 + 1.18534705686654e-04
    below = s * (s * below + 2.26843463243900e-03) + 4.89352518554385e-03
    return x * (s * above + 4.89352455891786e-03) / below


def sigmoid(x: Vector) -> Vector:
    """``1 / (1 + exp(-x))``."""
    return tanh(x * 0.5) * 0.5 + 0.5


def exp(x: Vector) -> Vector:
    """The exponential of a number between -60 and 60, or of the nearer of these, of which products are still quick.

    In float32 as Cephes has it (``expf``), good to 2 units of the last place.
    """
    kind, builder = x.value.type, x.builder
    name = f"v{kind.count}{kind.element.intrinsic_name}"
    x = x.clipped(60.0)
    if not isinstance(kind.element, ir.FloatType):
        return Vector(builder, _call(builder, f"llvm.exp.{name}", kind, x.value))
    shift = 1.5 * 2.0**23  # a number of this size has no room for what is less than 1
    shifted = x * 1.44269504088896341 + shift
    times = shifted - shift
    x = x - times * 0.693359375 - times * -2.12194440e-4  # what is left by whole powers of 2
    series = x * 1.9875691500e-4 + 1.3981999507e-3
    for coefficient in (8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        series = x * series + coefficient
    whole = ir.VectorType(ir.IntType(32), kind.count)
    bias, place = (ir.Constant(whole, [number] * kind.count) for number in (127, 23))
    exponent = builder.add(builder.bitcast(shifted.value, whole), bias)  # what is above its lowest bits is shifted out
    power = builder.bitcast(builder.shl(exponent, place), kind)
    return (x * x * series + x + 1) * Vector(builder, power)


def larger(x: Vector, y: Vector) -> Vector:
    """Of each two the larger one; where one is not a number, ``y``."""
    is_larger = x.builder.fcmp_ordered(">", x.value, y.value)
    return Vector(x.builder, x.builder.select(is_larger, x.value, y.value))


def _call(builder: Any, name: str, returns: Any, value: Any) -> Any:
    """An operation of LLVM's on one vector."""
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(returns, [value.type]), name)
    return builder.call(function, [value])


def _repeated(builder: Any, number: Any, width: int) -> Any:
    """A vector of one number."""
    undefined = ir.Constant(ir.VectorType(number.type, width), ir.Undefined)
    one = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), width), None))


def _start(context: Any, builder: Any, kind: Any, row: Any) -> Any:
    """Where a row begins that is given as an array and a place in it."""
    array, at = (builder.extract_value(row, part) for part in range(2))
    place = context.cast(builder, at, kind[1], types.intp)
    return builder.gep(context.make_array(kind[0])(context, builder, array).data, [place])


def _halves(x: Vector) -> tuple[Vector, Vector]:
    """A vector's numbers in two that are half as long."""
    size = x.value.type.count // 2
    whole = ir.VectorType(ir.IntType(32), size)
    lanes = ir.Constant(whole, list(range(size))), ir.Constant(whole, list(range(size, 2 * size)))
    low, high = (Vector(x.builder, x.builder.shuffle_vector(x.value, x.value, half)) for half in lanes)
    return low, high


def over_rows(formula: Callable[..., tuple[Vector, ...]], *, past_cache: int = 0) -> Callable[..., Any]:
    """Make of a formula a function for compiled loops.

    Args:
        formula: takes a :class:`Vector` from each row that is read, and returns what to write into each row.
        past_cache: how many of the rows that are written, the first ones, go to memory past the cache. These must begin
            at multiples of 64 bytes. Locks, by which another thread learns that they are written, wait for that.

    Returns:
        A function of two tuples of rows, those to read and those to write, each a flat array of one dtype and where in
        it the row begins; a tuple of numbers, which the formula takes as vectors of that dtype after those of the rows;
        and the length of all rows. A row may be read and written, but otherwise none overlaps another.
    """
    # Not slices of arrays: for each, Numba counts who refers to it, which takes longer than a row does.

    @intrinsic  # type: ignore[untyped-decorator]
    def run(typing_context: Any, read: Any, write: Any, numbers: Any, length: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            element = write[0][0].dtype
            number = context.get_data_type(element)
            align = element.bitwidth // 8
            *groups, scalars = [cgutils.unpack_tuple(builder, value) for value in arguments[:3]]
            scalars = [
                context.cast(builder, scalar, kind, element) for scalar, kind in zip(scalars, numbers, strict=True)
            ]
            rows = [
                [_start(context, builder, kind, row) for kind, row in zip(kinds, group, strict=True)]
                for kinds, group in zip(signature.args[:2], groups, strict=True)
            ]
            length = arguments[3]
            begin = ir.Constant(length.type, 0)
            for width in (WIDTH, WIDTH // 4, 1):  # what is left by whole vectors goes in smaller ones
                everywhere = [Vector(builder, _repeated(builder, scalar, width)) for scalar in scalars]
                step = ir.Constant(length.type, width)
                end = builder.sub(length, builder.srem(length, step))
                with cgutils.for_range_slice(builder, begin, end, step, length.type) as (at, _):
                    reading, writing = [
                        [
                            builder.bitcast(builder.gep(row, [at]), ir.VectorType(number, width).as_pointer())
                            for row in group
                        ]
                        for group in rows
                    ]
                    vectors = [Vector(builder, builder.load(pointer, align=align)) for pointer in reading]
                    values = formula(*vectors, *everywhere)
                    for place, (pointer, result) in enumerate(zip(writing, values, strict=True)):
                        if place < past_cache and width == WIDTH:
                            stored = builder.store(result.value, pointer, align=min(width * align, 64))
                            stored.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
                        else:
                            builder.store(result.value, pointer, align=align)
                begin = end
            return context.get_dummy_value()

        return types.void(read, write, numbers, types.intp), generate

    return run  # type: ignore[no-any-return]


def folded(formula: Callable[[Vector, Vector], Vector], start: float) -> Callable[..., Any]:
    """Make of a formula a function for compiled loops, which folds a row into one number.

    Args:
        formula: of two vectors, the first from the row or made of it by the formula, the second what there is so far;
            the order in which numbers come must not matter.
        start: what folds with a number into that number.

    Returns:
        A function of a row as :func:`over_rows` has it, and its length.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def run(typing_context: Any, row: Any, length: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            element = row[0].dtype
            number = context.get_data_type(element)
            data, length = _start(context, builder, row, arguments[0]), arguments[1]
            begin = ir.Constant(length.type, 0)
            result = Vector(builder, ir.Constant(ir.VectorType(number, 1), [start]))
            for width in (WIDTH, 1):
                kind = ir.VectorType(number, width)
                total = cgutils.alloca_once_value(builder, ir.Constant(kind, [ir.Constant(number, start)] * width))
                step = ir.Constant(length.type, width)
                end = builder.sub(length, builder.srem(length, step))
                with cgutils.for_range_slice(builder, begin, end, step, length.type) as (at, _):
                    pointer = builder.bitcast(builder.gep(data, [at]), kind.as_pointer())
                    values = Vector(builder, builder.load(pointer, align=element.bitwidth // 8))
                    builder.store(formula(values, Vector(builder, builder.load(total))).value, total)
                begin, folds = end, Vector(builder, builder.load(total))
                while folds.value.type.count > 1:
                    folds = formula(*_halves(folds))
                result = formula(folds, result)
            return builder.extract_element(result.value, ir.Constant(ir.IntType(32), 0))

        return row[0].dtype(row, types.intp), generate

    return run  # type: ignore[no-any-return]


@over_rows
def copy(values: Vector) -> tuple[Vector]:
    """``written = read``."""
    return (values,)


@over_rows
def add(values: Vector, sums: Vector) -> tuple[Vector]:
    """``written = one + other``."""
    return (sums + values,)
