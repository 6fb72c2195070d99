"""A builder of ONNX graphs: nodes by name, constants near their use, loop-invariant nodes outside of the loop.

Importing this module imports onnx.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from textgen_onnx.contract import IR_VERSION, OPSET

FLOAT, FLOAT16, INT32, INT64, BOOL = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.INT32,
    TensorProto.INT64,
    TensorProto.BOOL,
)


@dataclass(frozen=True)
class Value:
    """An input or output of a graph: its name, element type, and shape (a name for a dynamic dimension)."""

    name: str
    kind: int
    shape: tuple[int | str, ...]


class Graph:
    """A graph under construction, or the body of a loop in one; a :class:`textgen.GraphBuilder`.

    A node of a body whose inputs do not change between steps is moved into the graph around it. Constants become
    initializers of the innermost graph that needs them, where ONNX Runtime accesses them fastest.

    Args:
        tensors: weights by name, usable as inputs of nodes.
        vocab_size: the number of ids, for samplers.
        parent: the graph around a body.
    """

    def __init__(self, tensors: Mapping[str, NDArray[Any]], vocab_size: int, parent: Graph | None = None) -> None:
        self.vocab_size = vocab_size
        self._parent = parent
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[Value] = []
        self._own: set[str] = set()
        root = self._root
        if parent is None:
            self._constants: dict[str, NDArray[Any]] = dict(tensors)
            self._numbers = itertools.count()
            self._taken: set[str] = set()
        else:
            self._constants, self._numbers, self._taken = root._constants, root._numbers, root._taken

    @property
    def _root(self) -> Graph:
        return self._parent._root if self._parent else self

    def input(self, name: str, kind: int, shape: Sequence[int | str]) -> str:
        """Declare an input; returns its name."""
        self._inputs.append(Value(name, kind, tuple(shape)))
        self._own.add(name)
        return name

    def constant(self, value: Any) -> str:
        """Add a constant with the dtype and shape of ``numpy.asarray(value)``; returns its name."""
        array = np.asarray(value)
        for name, other in self._constants.items():
            is_free = name.startswith("constant.") and name not in self._taken
            same_kind = (other.dtype, other.shape) == (array.dtype, array.shape)
            if is_free and same_kind and np.array_equal(other, array):
                return name
        name = f"constant.{next(self._numbers)}"
        self._constants[name] = array
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; returns the name of the output."""
        return self.add_multiple(op, 1, *inputs, **attributes)[0]

    def add_multiple(self, op: str, outputs: int, *inputs: str, **attributes: Any) -> tuple[str, ...]:
        """Add a node with several outputs; returns their names."""
        if self._parent and not any(self._varies(name) for name in inputs):
            return self._parent.add_multiple(op, outputs, *inputs, **attributes)
        names = tuple(f"{op.lower()}.{next(self._numbers)}" for _ in range(outputs))
        self._nodes.append(helper.make_node(op, inputs, names, **attributes))
        self._own.update(names)
        return names

    def _varies(self, name: str) -> bool:
        return name in self._own

    def name(self, value: str, name: str) -> str:
        """Name a value, for an output; returns the name."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        return name

    def body(self) -> Graph:
        """A graph for the body of a loop in this one."""
        return Graph({}, self.vocab_size, self)

    def scan(self, body: Graph, states: Sequence[str], sequences: Sequence[str], outputs: Sequence[Value]) -> list[str]:
        """Add a ``Scan``: run a body once for each element along the first axis of the sequences.

        Args:
            body: its inputs are the states, then one element of each sequence.
            states: names of the states before the first step.
            sequences: names.
            outputs: of the body: first the new states, then values that are stacked along a first axis.

        Returns:
            Names of the states after the last step, then of the stacked outputs.
        """
        proto = body._proto("body", outputs)
        # A name in a body must not be used again in the graph around it.
        self._taken.update(each.name for each in proto.initializer)
        names = [f"scan.{next(self._numbers)}" for _ in outputs]
        node = helper.make_node("Scan", [*states, *sequences], names, body=proto, num_scan_inputs=len(sequences))
        self._nodes.append(node)
        self._own.update(names)
        return names

    def model(self, outputs: Sequence[Value]) -> onnx.ModelProto:
        """The finished model, checked; the outputs are values of this graph."""
        graph = self._proto("textgen", outputs)
        model = helper.make_model(
            graph, producer_name="textgen", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _proto(self, name: str, outputs: Sequence[Value]) -> onnx.GraphProto:
        used = [used for node in self._nodes for used in node.input]
        mine = [used for used in dict.fromkeys(used) if used in self._constants and not self._known_outside(used)]
        initializers = [numpy_helper.from_array(self._constants[each], each) for each in mine]
        inputs, results = (
            [helper.make_tensor_value_info(v.name, v.kind, v.shape) for v in values]
            for values in (self._inputs, outputs)
        )
        return helper.make_graph(self._nodes, name, inputs, results, initializer=initializers)

    def _known_outside(self, name: str) -> bool:
        """True if a graph around this one uses a constant, so that it is an initializer there."""
        parent = self._parent
        while parent:
            if any(name in node.input for node in parent._nodes):
                return True
            parent = parent._parent
        return False
