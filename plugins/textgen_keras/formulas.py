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
        exact = cgutils.get_or_insert_function(x.builder.module, ir.FunctionType(kind, [kind]), name)
        return Vector(x.builder, x.builder.call(exact, [x.value]))
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


def over_rows(formula: Callable[..., tuple[Vector, ...]]) -> Callable[..., Any]:
    """Make of a formula a function for compiled loops.

    Args:
        formula: takes a :class:`Vector` from each row that is read, and returns what to write into each row.

    Returns:
        A function of two tuples: the rows to read and those to write, one-dimensional, contiguous and of one dtype. All
        are as long as the first that is written. A row may be read and written, but otherwise none overlaps another.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def run(typing_context: Any, read: Any, write: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            number = context.get_data_type(write[0].dtype)
            align = write[0].dtype.bitwidth // 8
            rows = [
                [context.make_array(kind)(context, builder, value) for kind, value in zip(kinds, values, strict=True)]
                for kinds, values in zip(
                    signature.args, (cgutils.unpack_tuple(builder, value) for value in arguments), strict=True
                )
            ]
            length = builder.extract_value(rows[1][0].shape, 0)
            begin = ir.Constant(length.type, 0)
            for width in (WIDTH, 1):  # what is left by whole vectors goes number by number
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
                    values = formula(*(Vector(builder, builder.load(pointer, align=align)) for pointer in reading))
                    for pointer, result in zip(writing, values, strict=True):
                        builder.store(result.value, pointer, align=align)
                begin = end
            return context.get_dummy_value()

        return types.void(read, write), generate

    return run  # type: ignore[no-any-return]
