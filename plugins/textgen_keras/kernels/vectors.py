"""Formulas over rows of numbers, as loops over the processor's vectors for functions that :mod:`numba` compiles.

A formula is a Python function of :class:`Vector`. :func:`over_rows` makes a loop of it that reads each row once and
writes each result once. Numba's own loops over many arrays use vectors only if it can prove quickly that no two arrays
overlap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

#: Numbers per vector. In float32, 16 fill a register of AVX-512 and 8 one of AVX2; float64 and NEON take two.
WIDTH = 16 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 8

# A product and a sum may be one operation; all else is rounded as written.
_FLAGS = ("contract",)


@dataclass(frozen=True)
class Vector:
    """The numbers that a formula computes with at once: a value of LLVM, and the builder that adds instructions."""

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
        """The nearest numbers between ``-largest`` and ``largest``; NaN stays NaN."""
        value = self.value
        for sign, limit in ((">", largest), ("<", -largest)):
            beyond = self.builder.fcmp_ordered(sign, value, self._everywhere(limit))
            value = self.builder.select(beyond, self._everywhere(limit), value)
        return Vector(self.builder, value)


def tanh(x: Vector) -> Vector:
    """The hyperbolic tangent; in float32 the rational approximation of Eigen's ``ptanh_float``, within 5e-7."""
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
    """The exponential of the nearest number between -60 and 60: no result is subnormal, which would slow down products.

    In float32 as in Cephes (``expf``), within 2 units of the last place: ``exp(x) = 2 ** n * exp(x - n * log(2))``.
    """
    kind, builder = x.value.type, x.builder
    x = x.clipped(60.0)
    if not isinstance(kind.element, ir.FloatType):
        return Vector(builder, _call(builder, f"llvm.exp.v{kind.count}{kind.element.intrinsic_name}", kind, x.value))
    shift = 1.5 * 2.0**23  # float32 numbers of this size are whole, so adding it rounds
    shifted = x * 1.44269504088896341 + shift  # 1 / log(2)
    n = shifted - shift
    x = x - n * 0.693359375 - n * -2.12194440e-4  # log(2) in two parts, the first of which is exact
    series = x * 1.9875691500e-4 + 1.3981999507e-3
    for coefficient in (8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        series = x * series + coefficient
    # 2 ** n, bit by bit: the lowest bits of `shifted` are n, and those above them are shifted out.
    integers = ir.VectorType(ir.IntType(32), kind.count)
    bias, mantissa_bits = (ir.Constant(integers, [number] * kind.count) for number in (127, 23))
    exponent = builder.add(builder.bitcast(shifted.value, integers), bias)
    power = builder.bitcast(builder.shl(exponent, mantissa_bits), kind)
    return (x * x * series + x + 1) * Vector(builder, power)


def larger(x: Vector, y: Vector) -> Vector:
    """The larger number of each pair; ``y`` if one of them is NaN."""
    is_larger = x.builder.fcmp_ordered(">", x.value, y.value)
    return Vector(x.builder, x.builder.select(is_larger, x.value, y.value))


def over_rows(formula: Callable[..., tuple[Vector, ...]], *, past_cache: int = 0) -> Callable[..., Any]:
    """Make a function for compiled code that applies a formula to whole rows.

    A row is a pair: a flat array, and the position in it at which the row begins. (Slices are slower: Numba counts the
    references to each, which takes longer than a row of tanh.) All rows have one dtype and one length.

    Args:
        formula: takes one :class:`Vector` per row that is read, and returns one per row that is written.
        past_cache: the first so many of the rows that are written go to memory past the cache. They must begin at
            multiples of 64 bytes. Other threads see them only after a lock, as at the end of
            :func:`textgen_keras.kernels.threads.on_all_cores`.

    Returns:
        ``function(read, write, length)``: tuples of rows, in the order of the formula's arguments and results. A number
        in place of a row that is read stands for a row filled with it. A row may be both read and written; otherwise no
        two rows overlap.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def run(typing_context: Any, read: Any, write: Any, length: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            element = write[0][0].dtype
            number = context.get_data_type(element)
            align = element.bitwidth // 8
            length = arguments[2]

            def start(kind: Any, value: Any) -> Any:
                """The pointer to a row's first number, or the number that stands for a row."""
                if not isinstance(kind, types.Number):
                    return _start(context, builder, kind, value)
                return context.cast(builder, value, kind, element)

            sources, targets = [
                [start(*item) for item in zip(kinds, cgutils.unpack_tuple(builder, group), strict=True)]
                for kinds, group in zip(signature.args[:2], arguments[:2], strict=True)
            ]

            def at(row: Any, position: Any, width: int) -> Any:
                return builder.bitcast(builder.gep(row, [position]), ir.VectorType(number, width).as_pointer())

            begin = ir.Constant(length.type, 0)
            for width in (WIDTH, WIDTH // 4, 1):  # whole vectors first, then what is left of the row in shorter ones
                filled = {
                    place: _repeated(builder, source, width)
                    for place, source in enumerate(sources)
                    if source.type == number
                }
                step = ir.Constant(length.type, width)
                end = builder.sub(length, builder.srem(length, step))
                with cgutils.for_range_slice(builder, begin, end, step, length.type) as (position, _):
                    pointers = [at(row, position, width) for row in targets]
                    vectors = [
                        filled[place] if place in filled else builder.load(at(row, position, width), align=align)
                        for place, row in enumerate(sources)
                    ]
                    results = formula(*(Vector(builder, vector) for vector in vectors))
                    for place, (pointer, result) in enumerate(zip(pointers, results, strict=True)):
                        if place < past_cache and width == WIDTH:
                            stored = builder.store(result.value, pointer, align=min(width * align, 64))
                            stored.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
                        else:
                            builder.store(result.value, pointer, align=align)
                begin = end
            return context.get_dummy_value()

        return types.void(read, write, types.intp), generate

    return run  # type: ignore[no-any-return]


def folded(formula: Callable[[Vector, Vector], Vector], start: float) -> Callable[..., Any]:
    """Make a function for compiled code that folds a row into one number.

    Args:
        formula: takes the next numbers, or results of the formula, and the result so far. The order of the numbers must
            not matter to the meaning; it is always the same for one length.
        start: the result of no numbers at all.

    Returns:
        ``function(row, length)``, with a row as in :func:`over_rows`.
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
                so_far = cgutils.alloca_once_value(builder, ir.Constant(kind, [ir.Constant(number, start)] * width))
                step = ir.Constant(length.type, width)
                end = builder.sub(length, builder.srem(length, step))
                with cgutils.for_range_slice(builder, begin, end, step, length.type) as (position, _):
                    pointer = builder.bitcast(builder.gep(data, [position]), kind.as_pointer())
                    values = Vector(builder, builder.load(pointer, align=element.bitwidth // 8))
                    builder.store(formula(values, Vector(builder, builder.load(so_far))).value, so_far)
                begin, folds = end, Vector(builder, builder.load(so_far))
                while folds.value.type.count > 1:  # the vector's halves, until one number is left
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
    """``written = sums + values``."""
    return (sums + values,)


def _call(builder: Any, name: str, returns: Any, value: Any) -> Any:
    """The result of one of LLVM's own functions of one vector."""
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(returns, [value.type]), name)
    return builder.call(function, [value])


def _repeated(builder: Any, number: Any, width: int) -> Any:
    """A vector of ``width`` times the same number."""
    undefined = ir.Constant(ir.VectorType(number.type, width), ir.Undefined)
    one = builder.insert_element(undefined, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), width), None))


def _start(context: Any, builder: Any, kind: Any, row: Any) -> Any:
    """The pointer to a row's first number."""
    array, position = (builder.extract_value(row, part) for part in range(2))
    position = context.cast(builder, position, kind[1], types.intp)
    return builder.gep(context.make_array(kind[0])(context, builder, array).data, [position])


def _halves(x: Vector) -> tuple[Vector, Vector]:
    """The first half and the second half of a vector."""
    size = x.value.type.count // 2
    lanes = ir.VectorType(ir.IntType(32), size)
    halves = ir.Constant(lanes, list(range(size))), ir.Constant(lanes, list(range(size, 2 * size)))
    low, high = (Vector(x.builder, x.builder.shuffle_vector(x.value, x.value, half)) for half in halves)
    return low, high
