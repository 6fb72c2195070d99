"""Formulas over rows of numbers, for loops that :mod:`numba` compiles: one pass, in the processor's vectors.

Numba's own loops over many arrays are vectors only where it can prove in time that none overlaps another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from textgen_keras.tiles import WIDTH

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
    times = Vector(builder, _call(builder, f"llvm.rint.{name}", kind, (x * 1.44269504088896341).value))
    x = x - times * 0.693359375 - times * -2.12194440e-4  # what is left by whole powers of 2
    series = x * 1.9875691500e-4 + 1.3981999507e-3
    for coefficient in (8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        series = x * series + coefficient
    whole = ir.VectorType(ir.IntType(32), kind.count)
    exponent = _call(builder, f"llvm.fptosi.sat.v{kind.count}i32.{name}", whole, times.value)
    bias, place = (ir.Constant(whole, [number] * kind.count) for number in (127, 23))
    power = builder.bitcast(builder.shl(builder.add(exponent, bias), place), kind)
    return (x * x * series + x + 1) * Vector(builder, power)


def _call(builder: Any, name: str, returns: Any, value: Any) -> Any:
    """An operation of LLVM's on one vector."""
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(returns, [value.type]), name)
    return builder.call(function, [value])


def _repeated(builder: Any, number: Any, width: int) -> Any:
    """A vector of one number."""
    undefined = ir.Constant(ir.VectorType(number.type, width), ir.Undefined)
    one = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), width), None))


def over_rows(formula: Callable[..., tuple[Vector, ...]]) -> Callable[..., Any]:
    """Make of a formula a function for compiled loops.

    Args:
        formula: takes a :class:`Vector` from each row that is read, and returns what to write into each row.

    Returns:
        A function of three tuples: the rows to read and those to write, one-dimensional, contiguous and of one dtype;
        and numbers, which the formula takes as vectors of that dtype after those of the rows. All rows are as long as
        the first that is written. A row may be read and written, but otherwise none overlaps another.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def run(typing_context: Any, read: Any, write: Any, numbers: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            number = context.get_data_type(write[0].dtype)
            align = write[0].dtype.bitwidth // 8
            *groups, scalars = [cgutils.unpack_tuple(builder, value) for value in arguments]
            scalars = [
                context.cast(builder, scalar, kind, write[0].dtype)
                for scalar, kind in zip(scalars, numbers, strict=True)
            ]
            rows = [
                [context.make_array(kind)(context, builder, value) for kind, value in zip(kinds, values, strict=True)]
                for kinds, values in zip(signature.args[:2], groups, strict=True)
            ]
            length = builder.extract_value(rows[1][0].shape, 0)
            begin = ir.Constant(length.type, 0)
            for width in (WIDTH, WIDTH // 4, 1):  # what is left by whole vectors goes in smaller ones
                everywhere = [Vector(builder, _repeated(builder, scalar, width)) for scalar in scalars]
                step = ir.Constant(length.type, width)
                end = builder.sub(length, builder.srem(length, step))
                with cgutils.for_range_slice(builder, begin, end, step, length.type) as (at, _):
                    reading, writing = [
                        [
                            builder.bitcast(builder.gep(row.data, [at]), ir.VectorType(number, width).as_pointer())
                            for row in group
                        ]
                        for group in rows
                    ]
                    vectors = [Vector(builder, builder.load(pointer, align=align)) for pointer in reading]
                    values = formula(*vectors, *everywhere)
                    for pointer, result in zip(writing, values, strict=True):
                        builder.store(result.value, pointer, align=align)
                begin = end
            return context.get_dummy_value()

        return types.void(read, write, numbers), generate

    return run  # type: ignore[no-any-return]


@over_rows
def copy(values: Vector) -> tuple[Vector]:
    """``written = read``."""
    return (values,)


@over_rows
def add(values: Vector, sums: Vector) -> tuple[Vector]:
    """``written = one + other``."""
    return (sums + values,)
