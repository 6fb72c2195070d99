"""Checks of a graph that textgen did not build: what it may consist of, how large its tensors are, and its work.

A graph is a program. Those that are allowed consist of known operators of arithmetic, cannot call each other, read no
other file, and loop once per id read or drawn. How much memory and time they take is found by
:mod:`textgen_onnx.checks.shapes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import onnx
from onnx import TensorProto

from textgen import StateSpec
from textgen_onnx.checks.refused import Refused
from textgen_onnx.checks.rules import RULES
from textgen_onnx.checks.shapes import measure
from textgen_onnx.contract import IR_VERSION, OPSET
from textgen_onnx.graphs.parsing import parse

#: The versions of the operators that graphs may use.
OPSETS = range(13, OPSET + 1)

#: The most nodes of a graph.
MOST_NODES = 20_000

#: The operators that have a graph inside.
LOOPS = ("Loop", "Scan")

#: Rows and steps by which a graph is judged when it is loaded.
USUAL = ((1, 1), (2, 3), (64, 7))

#: Bits per element, by the data types that tensors may have.
_BITS: dict[int, int] = {
    TensorProto.FLOAT: 32,
    TensorProto.FLOAT16: 16,
    TensorProto.DOUBLE: 64,
    TensorProto.INT8: 8,
    TensorProto.UINT8: 8,
    TensorProto.INT32: 32,
    TensorProto.INT64: 64,
    TensorProto.BOOL: 8,
}


class ForeignGraph:
    """A graph that reads text, and that textgen did not build.

    Args:
        content: the graph, serialised.
        spec: the state of its model.
        vocab_size: the number of ids.

    Raises:
        Refused: if it may not be run.
    """

    def __init__(self, content: bytes, spec: StateSpec, vocab_size: int) -> None:
        try:
            model = parse(content)
        except ValueError as error:
            raise Refused(str(error)) from None
        _check_model(model)
        _check_graph(model.graph, inside=False)
        self._model, self._spec, self._vocab_size = model, spec, vocab_size
        self._measured: set[tuple[int, int]] = set()
        for rows, steps in USUAL:
            self.check(rows, steps)

    def check(self, rows: int, steps: int) -> None:
        """Check that the graph may be run on so many ids: sizes may depend on their number in any way.

        Raises:
            Refused: if it may not.
        """
        if (rows, steps) not in self._measured:
            measure(self._model.graph, self._spec, self._vocab_size, rows, steps)
            self._measured.add((rows, steps))


def _check_model(model: onnx.ModelProto) -> None:
    if model.functions:
        raise Refused("it defines functions of its own")
    if model.training_info:
        raise Refused("it has parts for training")
    if model.ir_version > IR_VERSION:
        raise Refused(f"it has IR version {model.ir_version}, above {IR_VERSION}")
    versions = [each.version for each in model.opset_import if each.domain in ("", "ai.onnx")]
    if len(versions) != 1 or versions[0] not in OPSETS:
        raise Refused(f"it uses opset {versions or 'none'}, not one from {OPSETS[0]} to {OPSETS[-1]}")


def _check_graph(graph: onnx.GraphProto, *, inside: bool) -> None:
    if graph.sparse_initializer:
        raise Refused("it has sparse tensors")
    if len(graph.node) > MOST_NODES:
        raise Refused(f"it has {len(graph.node):,} nodes, more than {MOST_NODES:,}")
    for tensor in graph.initializer:
        _check_tensor(tensor)
    for value in (*graph.input, *graph.output, *graph.value_info):
        kind = value.type.WhichOneof("value")
        if kind not in (None, "tensor_type") or value.type.tensor_type.elem_type not in (0, *_BITS):
            raise Refused(f"its value {value.name[:50]} is not a tensor of a data type that graphs need")
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or (node.op_type not in RULES and node.op_type not in LOOPS):
            domain = f"{node.domain}." if node.domain else ""
            raise Refused(f"it uses the operator {domain}{node.op_type[:50]}")
        if getattr(node, "overload", ""):
            raise Refused("it calls a function of its own")
        if node.op_type in LOOPS and inside:
            raise Refused("it has a loop in a loop")
        for attribute in node.attribute:
            _check_attribute(node, attribute)


def _check_attribute(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> None:
    if attribute.ref_attr_name:
        raise Refused(f"the attribute {attribute.name[:50]} of a {node.op_type} refers to one of a function")
    if attribute.graphs or attribute.type_protos or attribute.HasField("tp"):
        raise Refused(f"the attribute {attribute.name[:50]} of a {node.op_type} is of a kind that is not needed")
    if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
        raise Refused("it has sparse tensors")
    if node.op_type == "Cast" and attribute.name == "to" and attribute.i not in _BITS:
        raise Refused(f"a Cast is to the data type {attribute.i}")
    if node.op_type == "Constant" and (attribute.s or attribute.strings):
        raise Refused("a Constant is a string")
    for tensor in _tensors(attribute):
        _check_tensor(tensor)
    if attribute.HasField("g"):
        if node.op_type not in LOOPS or attribute.name != "body":
            raise Refused(f"a {node.op_type} has a graph inside")
        _check_graph(attribute.g, inside=True)


def _tensors(attribute: onnx.AttributeProto) -> Iterator[TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors


def _check_tensor(tensor: TensorProto) -> None:
    """Check that a tensor has as many values as its shape says."""
    name = tensor.name[:50]
    if tensor.HasField("segment"):
        raise Refused(f"its tensor {name} is a part of another")
    bits = _BITS.get(tensor.data_type)
    if bits is None:
        raise Refused(f"its tensor {name} has the data type {tensor.data_type}")
    if any(size < 0 for size in tensor.dims):
        raise Refused(f"its tensor {name} has a negative size")
    count = prod(tensor.dims)
    if tensor.HasField("raw_data"):
        held: float = len(tensor.raw_data) * 8 / bits
    else:
        values: tuple[Any, ...] = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data)
        held = max(map(len, values))
    if held != count:
        raise Refused(f"its tensor {name} has {held:g} values, and {count} by its shape")
