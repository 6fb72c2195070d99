"""A rule per operator: the shapes of its outputs by those of its inputs.

The rules are those of the ONNX operators (https://onnx.ai/onnx/operators/). The list has what tf2onnx makes of
recurrent Keras models, what textgen's own graphs consist of, and operators of arithmetic that are as harmless.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from textgen_onnx.checks.refused import Refused

#: Numbers that are computed, at most per tensor; a larger tensor is not a shape.
MOST_COMPUTED = 64


@dataclass(frozen=True)
class Tensor:
    """A tensor of a graph: its shape, and its values if they are few and do not depend on what is read."""

    shape: tuple[int, ...]
    values: NDArray[Any] | None = None

    @property
    def size(self) -> int:
        """The number of its elements."""
        return prod(self.shape)

    @property
    def numbers(self) -> list[int]:
        """Its values as integers.

        Raises:
            Refused: if they are not known.
        """
        if self.values is None:
            raise Refused("a tensor has a size that depends on what is read")
        return [int(value) for value in self.values.reshape(-1)]


Tensors = Sequence[Tensor]
Attributes = Mapping[str, Any]

#: From inputs (one that is omitted has the shape ()), attributes and the number of outputs to the outputs.
Rule = Callable[[Tensors, Attributes, int], Tensors]


def constant(tensor: onnx.TensorProto) -> Tensor:
    """A tensor that is in the graph."""
    shape = tuple(tensor.dims)
    return Tensor(shape, numpy_helper.to_array(tensor) if prod(shape) <= MOST_COMPUTED else None)


def computed(values: Any) -> Tensor:
    """A tensor of known values."""
    array = np.asarray(values)
    return Tensor(array.shape, array if array.size <= MOST_COMPUTED else None)


def _given(inputs: Tensors) -> list[NDArray[Any]] | None:
    """The values of all inputs, or ``None`` if those of one are not known."""
    found = [each.values for each in inputs if each.values is not None]
    return found if len(found) == len(inputs) else None


def _same(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    return [Tensor(inputs[0].shape)] * count


def _identity(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    return [inputs[0]]


def _cast(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    if inputs[0].values is None:
        return [inputs[0]]
    return [computed(inputs[0].values.astype(helper.tensor_dtype_to_np_dtype(attributes["to"])))]


def _broadcast(compute: Callable[..., Any] | None = None) -> Rule:
    def rule(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
        shape = np.broadcast_shapes(*(each.shape for each in inputs))
        given = _given(inputs)
        if compute is None or given is None or prod(shape) > MOST_COMPUTED:
            return [Tensor(shape)]
        return [computed(compute(*given))]

    return rule


def _divide(a: NDArray[Any], b: NDArray[Any]) -> Any:
    return a // b if a.dtype.kind in "iu" else a / b


def _matmul(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    a, b = inputs[0].shape, inputs[1].shape
    left, right = a if len(a) > 1 else (1, *a), b if len(b) > 1 else (*b, 1)
    if left[-1] != right[-2]:
        raise ValueError(f"{list(a)} by {list(b)}")
    rows, columns = [left[-2]] * (len(a) > 1), [right[-1]] * (len(b) > 1)
    return [Tensor((*np.broadcast_shapes(left[:-2], right[:-2]), *rows, *columns))]


def _gemm(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    a, b = inputs[0].shape, inputs[1].shape
    a, b = a[::-1] if attributes.get("transA") else a, b[::-1] if attributes.get("transB") else b
    return _matmul([Tensor(a), Tensor(b)], attributes, count)


def _transpose(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    shape = inputs[0].shape
    order = attributes.get("perm", range(len(shape))[::-1])
    if sorted(order) != list(range(len(shape))):
        raise ValueError(f"the order {list(order)} of {len(shape)} axes")
    return [Tensor(tuple(shape[axis] for axis in order))]


def _reshape(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    data, wanted = inputs[0], inputs[1].numbers
    if not attributes.get("allowzero"):
        wanted = [data.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    if wanted.count(-1) > 1 or min(wanted, default=0) < -1:
        raise ValueError(f"to {wanted}")
    rest = prod(size for size in wanted if size != -1)
    shape = tuple(data.size // max(1, rest) if size == -1 else size for size in wanted)
    if prod(shape) != data.size:
        raise ValueError(f"{list(data.shape)} to {wanted}")
    return [Tensor(shape, None if data.values is None else data.values.reshape(shape))]


def _flatten(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    shape, axis = inputs[0].shape, attributes.get("axis", 1)
    return [Tensor((prod(shape[:axis]), prod(shape[axis:])))]


def _squeeze(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    shape = inputs[0].shape
    if len(inputs) > 1:
        axes = {axis % len(shape) for axis in inputs[1].numbers}
    else:
        axes = {axis for axis, size in enumerate(shape) if size == 1}
    if any(shape[axis] != 1 for axis in axes):
        raise ValueError(f"{list(shape)} without the axes {sorted(axes)}")
    return [_shaped(inputs[0], tuple(size for axis, size in enumerate(shape) if axis not in axes))]


def _unsqueeze(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    numbers = inputs[1].numbers
    rank = len(inputs[0].shape) + len(numbers)
    axes, sizes = {axis % rank for axis in numbers}, iter(inputs[0].shape)
    return [_shaped(inputs[0], tuple(1 if axis in axes else next(sizes) for axis in range(rank)))]


def _shaped(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    return Tensor(shape, None if tensor.values is None else tensor.values.reshape(shape))


def _shape(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    sizes = inputs[0].shape[attributes.get("start", 0) : attributes.get("end")]
    return [computed(np.array(sizes, np.int64))]


def _size(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    return [computed(np.int64(inputs[0].size))]


def _slice(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    data, starts, ends = inputs[0], inputs[1].numbers, inputs[2].numbers
    axes = inputs[3].numbers if len(inputs) > 3 and inputs[3].shape else list(range(len(starts)))
    strides = inputs[4].numbers if len(inputs) > 4 and inputs[4].shape else [1] * len(starts)
    cuts = [slice(None)] * len(data.shape)
    for start, end, axis, stride in zip(starts, ends, axes, strides, strict=True):
        # Going backwards, an end before the first element includes it.
        cuts[axis] = slice(start, None if stride < 0 and end < -data.shape[axis] else end, stride)
    sizes = (len(range(*cut.indices(size))) for cut, size in zip(cuts, data.shape, strict=True))
    return [Tensor(tuple(sizes), None if data.values is None else data.values[tuple(cuts)])]


def _split(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    shape = inputs[0].shape
    axis = attributes.get("axis", 0) % len(shape)
    sizes = inputs[1].numbers if len(inputs) > 1 else [ceil(shape[axis] / count)] * count
    if len(inputs) > 1 and (sum(sizes) != shape[axis] or len(sizes) != count):
        raise ValueError(f"{shape[axis]} into {sizes}")
    return [Tensor((*shape[:axis], size, *shape[axis + 1 :])) for size in sizes]


def _gather(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    data, indices = inputs
    axis = attributes.get("axis", 0) % len(data.shape)
    shape = (*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :])
    if data.values is None or indices.values is None or prod(shape) > MOST_COMPUTED:
        return [Tensor(shape)]
    return [computed(np.take(data.values, indices.values, axis))]


def _gather_nd(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    data, indices, batch = inputs[0].shape, inputs[1].shape, attributes.get("batch_dims", 0)
    return [Tensor((*indices[:-1], *data[batch + indices[-1] :]))]


def _gather_elements(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    return [Tensor(inputs[1].shape)]


def _concat(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    shapes = [each.shape for each in inputs]
    axis = attributes["axis"] % len(shapes[0])
    if len({(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}) > 1:
        raise ValueError(", ".join(map(str, shapes[:4])))
    shape = (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])
    given = _given(inputs) if prod(shape) <= MOST_COMPUTED else None
    return [Tensor(shape, None if given is None else np.concatenate(given, axis))]


def _constant(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    if "value" in attributes:
        return [constant(attributes["value"])]
    (value,) = (
        attributes[name] for name in ("value_int", "value_ints", "value_float", "value_floats") if name in attributes
    )
    return [computed(value)]


def _constant_of_shape(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    shape = tuple(inputs[0].numbers)
    if prod(shape) > MOST_COMPUTED or min(shape, default=0) < 0 or "value" not in attributes:
        return [Tensor(shape)]
    return [computed(np.full(shape, numpy_helper.to_array(attributes["value"])))]


def _range(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    given = _given(inputs)
    if given is None:
        raise Refused("a Range has a size that depends on what is read")
    start, limit, delta = (value.reshape(-1)[0].item() for value in given)
    length = max(0, ceil((limit - start) / delta))
    return [computed(start + delta * np.arange(length)) if length <= MOST_COMPUTED else Tensor((length,))]


def _expand(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    return [Tensor(tuple(_sizes(inputs[0].shape, inputs[1].numbers)))]


def _sizes(*shapes: Sequence[int]) -> Sequence[int]:
    """The shape that shapes broadcast to, which need not fit into an array."""
    rank = max(map(len, shapes))
    padded = [(*[1] * (rank - len(shape)), *shape) for shape in shapes]
    if any(len({size for size in sizes if size != 1}) > 1 for sizes in zip(*padded, strict=True)):
        raise ValueError(" and ".join(str(list(shape)) for shape in shapes))
    return [next((size for size in sizes if size != 1), 1) for sizes in zip(*padded, strict=True)]


def _tile(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    return [Tensor(tuple(a * b for a, b in zip(inputs[0].shape, inputs[1].numbers, strict=True)))]


def _pad(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    shape, pads = inputs[0].shape, inputs[1].numbers
    if len(inputs) > 3 and inputs[3].shape:
        raise Refused("a Pad names its axes")
    before, after = pads[: len(shape)], pads[len(shape) :]
    return [Tensor(tuple(a + b + c for a, b, c in zip(before, shape, after, strict=True)))]


def _one_hot(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    (depth,) = inputs[1].numbers
    shape = list(inputs[0].shape)
    axis = attributes.get("axis", -1)
    shape.insert(axis if axis >= 0 else len(shape) + 1 + axis, depth)
    return [Tensor(tuple(shape))]


def _reduce(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    shape = inputs[0].shape
    given = inputs[1].numbers if len(inputs) > 1 else attributes.get("axes")
    if not given and attributes.get("noop_with_empty_axes"):
        return [inputs[0]]
    axes = {axis % len(shape) for axis in given} if given else set(range(len(shape)))
    keeps = attributes.get("keepdims", 1)
    return [Tensor(tuple(1 if axis in axes else size for axis, size in enumerate(shape) if keeps or axis not in axes))]


def _arg(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    axes = [attributes.get("axis", 0)]
    return _reduce(inputs[:1], {"axes": axes, "keepdims": attributes.get("keepdims", 1)}, count)


def _top_k(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    shape, (k,) = list(inputs[0].shape), inputs[1].numbers
    axis = attributes.get("axis", -1)
    if k > shape[axis]:
        raise ValueError(f"{k} of {shape[axis]}")
    shape[axis] = k
    return [Tensor(tuple(shape))] * 2


def _recurrent(inputs: Tensors, attributes: Attributes, count: int) -> Tensors:
    if attributes.get("layout"):
        raise Refused("a recurrent operator has its batch first")
    steps, batch, _ = inputs[0].shape
    directions, units = inputs[2].shape[0], inputs[2].shape[-1]
    last = Tensor((directions, batch, units))
    return [Tensor((steps, directions, batch, units)), last, last][:count]


def _rules(names: str, rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, Rule] = {
    **_rules("Abs Ceil Celu Clip CumSum DequantizeLinear Elu Erf Exp Floor HardSigmoid HardSwish IsInf IsNaN", _same),
    **_rules("LayerNormalization LeakyRelu Log LogSoftmax Neg Not QuantizeLinear Reciprocal Relu Round", _same),
    **_rules("ScatterElements Selu Sigmoid Sign Softmax Softplus Softsign Sqrt Tanh ThresholdedRelu", _same),
    **_rules("And Equal Greater GreaterOrEqual Less LessOrEqual Mean Mod Or PRelu Pow Sum Where Xor", _broadcast()),
    **_rules("ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum", _reduce),
    **_rules("ArgMax ArgMin", _arg),
    **_rules("GRU LSTM RNN", _recurrent),
    **_rules("MatMul MatMulInteger", _matmul),
    "Add": _broadcast(np.add),
    "Cast": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Div": _broadcast(_divide),
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "Identity": _identity,
    "Max": _broadcast(lambda *arrays: np.maximum.reduce(np.broadcast_arrays(*arrays))),
    "Min": _broadcast(lambda *arrays: np.minimum.reduce(np.broadcast_arrays(*arrays))),
    "Mul": _broadcast(np.multiply),
    "OneHot": _one_hot,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": _broadcast(np.subtract),
    "Tile": _tile,
    "TopK": _top_k,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
