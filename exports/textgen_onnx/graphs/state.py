"""The state of a model as inputs and outputs of its graphs."""

from __future__ import annotations

from collections.abc import Sequence

from textgen_onnx.graphs.builder import FLOAT, INT32, INT64, Graph, Value
from textgen_onnx.graphs.weights import GraphWeights

_KINDS = {"float32": FLOAT, "int32": INT32}


class StateInputs:
    """The tensors of a state before the first id, as inputs ``past.*`` of a graph.

    Args:
        graph: the graph.
        weights: of the model.
        batch: the number of rows, or the name of it.

    Attributes:
        names: of the inputs, in the order of the state; that of an n-gram is cast to int64.
        layers: those of each layer.
    """

    def __init__(self, graph: Graph, weights: GraphWeights, batch: int | str) -> None:
        self._graph = graph
        self._values = [
            Value(tensor.name, _KINDS[tensor.dtype], (batch, *tensor.shape)) for tensor in weights.state_spec.tensors
        ]
        self.names = [graph.input(f"past.{value.name}", value.kind, value.shape) for value in self._values]
        if weights.ngram is not None:  # an index of tables
            self.names[-1] = graph.add("Cast", self.names[-1], to=INT64)
        self.layers = weights.by_layer(self.names)

    @property
    def context(self) -> str:
        """That of an n-gram, ``[batch]`` int64."""
        return self.names[-1]

    @property
    def carried(self) -> list[Value]:
        """The tensors as they change from step to step."""
        return [Value(each.name, FLOAT if each.kind == FLOAT else INT64, each.shape) for each in self._values]

    def outputs(self, after: Sequence[str]) -> list[Value]:
        """Name the state after the last id as outputs ``present.*`` of the graph."""
        values = []
        for each, name in zip(self._values, after, strict=True):
            found = name if each.kind == FLOAT else self._graph.add("Cast", name, to=each.kind)
            values.append(Value(self._graph.name(found, f"present.{each.name}"), each.kind, each.shape))
        return values
