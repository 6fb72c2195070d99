"""The graph that reads text, ``step.onnx``, and the state as inputs and outputs of any graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from textgen_onnx.graphs.builder import BOOL, FLOAT, INT32, INT64, Graph, Value
from textgen_onnx.graphs.cells import add_step
from textgen_onnx.graphs.ngram import Tables
from textgen_onnx.graphs.weights import GraphWeights

_KINDS = {"float32": FLOAT, "int32": INT32}


def build_step(weights: GraphWeights) -> onnx.ModelProto:
    """The graph that reads prompts of any lengths.

    Inputs: ``ids [batch, sequence]`` int64, padded on the right; ``lengths [batch]`` int64, from 0 to sequence, the
    number of ids that count; ``past.{layer}.{h|c} [batch, units]`` float; with an n-gram ``past.context [batch]``
    int32. Outputs: ``logits [batch, sequence, vocab]`` float, meaningless at padding; ``present.*``, each row's state
    after its last id.
    """
    graph = Graph(weights.tensors, weights.vocab_size)
    ids = graph.input("ids", INT64, ("batch", "sequence"))
    lengths = graph.input("lengths", INT64, ("batch",))
    past = StateInputs(graph, weights, "batch")
    by_time = graph.add("Transpose", ids, perm=[1, 0])
    time = graph.add("Gather", graph.add("Shape", ids), graph.constant(np.int64(1)))
    positions = graph.add("Range", graph.constant(np.int64(0)), time, graph.constant(np.int64(1)))
    column = graph.add("Unsqueeze", positions, graph.constant(np.array([1, 2])))
    counts = graph.add("Less", column, graph.add("Unsqueeze", lengths, graph.constant(np.array([0, 2]))))

    present: list[str] = []
    hidden = by_time
    for index, state in enumerate(past.layers):
        projected = weights.project(graph, hidden, index)
        *after, hidden = _scan_layer(graph, weights, index, state, projected, counts)
        present += after
    addend: str | None = "head.bias" if weights.units else None
    if weights.ngram is not None:
        tables = Tables.of(graph, weights.ngram, addend)
        context, contexts = _scan_contexts(graph, tables, past.context, by_time, counts)
        present.append(context)
        addend = graph.add("Gather", tables.rows, contexts)
    logits = weights.logits(graph, hidden, addend)
    shape = ("batch", "sequence", weights.vocab_size)
    logits = graph.name(graph.add("Transpose", logits, perm=[1, 0, 2]), "logits")
    return graph.model([Value(logits, FLOAT, shape), *past.outputs(present)])


def _scan_layer(
    graph: Graph, weights: GraphWeights, layer: int, past: list[str], projected: list[str], counts: str
) -> list[str]:
    """Run a layer over time: its state after each row's last id, then its outputs ``[sequence, batch, units]``."""
    body = graph.body()
    units = weights.units[layer]
    before = [body.input(f"layer{layer}.before.{i}", FLOAT, ("batch", units)) for i in range(len(past))]
    now = [
        body.input(f"layer{layer}.projected{part}", FLOAT, ("batch", gates * units))
        for part, gates in weights.parts.items()
    ]
    reads = body.input(f"layer{layer}.counts", BOOL, ("batch", 1))
    after = [
        body.add("Where", reads, new, old)
        for new, old in zip(add_step(body, weights, layer, now, before), before, strict=True)
    ]
    output = body.name(after[0], f"layer{layer}.output")
    values = [Value(name, FLOAT, ("batch", units)) for name in [*after, output]]
    return graph.scan(body, past, [*projected, counts], values)


def _scan_contexts(graph: Graph, tables: Tables, past: str, by_time: str, counts: str) -> tuple[str, str]:
    """Run an n-gram over time: its context after each row's last id, and those after each id, ``[sequence, batch]``."""
    body = graph.body()
    before = body.input("context.before", INT64, ("batch",))
    last, reads = body.input("context.id", INT64, ("batch",)), body.input("context.counts", BOOL, ("batch",))
    found, _ = tables.next_contexts(body, before, last)
    after = body.add("Where", reads, found, before)
    values = [Value(name, INT64, ("batch",)) for name in (after, body.name(after, "context.output"))]
    context, contexts = graph.scan(
        body, [past], [by_time, graph.add("Squeeze", counts, graph.constant(np.array([2])))], values
    )
    return context, contexts


class StateInputs:
    """The tensors of a state before the first id, as inputs ``past.*`` of a graph.

    Args:
        graph: the graph.
        weights: of the model.
        batch: the number of rows, or the name of it.
        columns: whether inputs and outputs of one number per row are ``[batch, 1]`` instead of ``[batch]``.

    Attributes:
        names: of the inputs, in the order of the state; that of an n-gram is cast to int64.
        layers: those of each layer.
    """

    def __init__(self, graph: Graph, weights: GraphWeights, batch: int | str, *, columns: bool = False) -> None:
        self._graph = graph
        self._values = [
            Value(tensor.name, _KINDS[tensor.dtype], (batch, *tensor.shape)) for tensor in weights.state_spec.tensors
        ]
        self._shapes = [(batch, 1) if columns and value.shape == (batch,) else value.shape for value in self._values]
        self.names = [
            graph.input(f"past.{value.name}", value.kind, shape)
            for value, shape in zip(self._values, self._shapes, strict=True)
        ]
        if weights.ngram is not None:  # an index of tables
            self.names[-1] = graph.add("Cast", self.names[-1], to=INT64)
            if columns:
                self.names[-1] = graph.add("Squeeze", self.names[-1], graph.constant(np.array([1])))
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
        for each, shape, name in zip(self._values, self._shapes, after, strict=True):
            found = name if each.kind == FLOAT else self._graph.add("Cast", name, to=each.kind)
            if shape != each.shape:
                found = self._graph.add("Unsqueeze", found, self._graph.constant(np.array([1])))
            values.append(Value(self._graph.name(found, f"present.{each.name}"), each.kind, shape))
        return values
