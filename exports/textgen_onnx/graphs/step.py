"""The graph that reads text, ``step.onnx``."""

from __future__ import annotations

import numpy as np
import onnx

from textgen import recurrent_state_spec
from textgen_onnx.graphs.builder import BOOL, FLOAT, INT64, Graph, Value
from textgen_onnx.graphs.cells import add_step
from textgen_onnx.graphs.weights import GraphWeights


def state_names(weights: GraphWeights) -> list[list[str]]:
    """The names of each layer's state: ``0.h``, and for an LSTM ``0.c``."""
    parts = 2 if weights.cell == "lstm" else 1
    names = [tensor.name for tensor in recurrent_state_spec(weights.cell, list(weights.units)).tensors]
    return [names[i * parts : (i + 1) * parts] for i in range(len(weights.units))]


def build_step(weights: GraphWeights) -> onnx.ModelProto:
    """The graph that reads prompts of any lengths.

    Inputs: ``ids [batch, sequence]`` int64, padded on the right; ``lengths [batch]`` int64, from 0 to sequence, the
    number of ids that count; ``past.{layer}.{h|c} [batch, units]`` float. Outputs: ``logits [batch, sequence, vocab]``
    float, meaningless at padding; ``present.*``, each row's state after its last id.
    """
    graph = Graph(weights.tensors, weights.vocab_size)
    ids = graph.input("ids", INT64, ("batch", "sequence"))
    lengths = graph.input("lengths", INT64, ("batch",))
    past = [
        [past_input(graph, name, width) for name in names]
        for names, width in zip(state_names(weights), weights.units, strict=True)
    ]
    by_time = graph.add("Transpose", ids, perm=[1, 0])
    time = graph.add("Gather", graph.add("Shape", ids), graph.constant(np.int64(1)))
    positions = graph.add("Range", graph.constant(np.int64(0)), time, graph.constant(np.int64(1)))
    column = graph.add("Unsqueeze", positions, graph.constant(np.array([1, 2])))
    counts = graph.add("Less", column, graph.add("Unsqueeze", lengths, graph.constant(np.array([0, 2]))))

    outputs = []
    hidden = by_time
    for index, (names, width) in enumerate(zip(state_names(weights), weights.units, strict=True)):
        projected = weights.project(graph, hidden, index)
        *present, hidden = _scan_layer(graph, weights, index, past[index], projected, counts)
        outputs += [
            Value(graph.name(value, f"present.{name}"), FLOAT, ("batch", width))
            for value, name in zip(present, names, strict=True)
        ]
    logits = graph.add("Transpose", weights.product(graph, hidden, "head.kernel", "head.bias"), perm=[1, 0, 2])
    shape = ("batch", "sequence", weights.vocab_size)
    return graph.model([Value(graph.name(logits, "logits"), FLOAT, shape), *outputs])


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


def past_input(graph: Graph, name: str, width: int, batch: int | str = "batch") -> str:
    """Declare the input for a tensor of the state before the first id; returns its name."""
    return graph.input(f"past.{name}", FLOAT, (batch, width))
