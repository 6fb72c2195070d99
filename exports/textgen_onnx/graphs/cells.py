"""One step of a GRU and of an LSTM as ONNX nodes.

They are written out in single operators: the fused GRU of ONNX Runtime takes one and a half times as long per step, and
has no int8 form. The formulas are those of Keras's layers, with the reset gate after the recurrent product.
"""

from __future__ import annotations

import numpy as np

from textgen_onnx.graphs.builder import Graph
from textgen_onnx.graphs.weights import GraphWeights


def add_step(graph: Graph, weights: GraphWeights, layer: int, projected: list[str], state: list[str]) -> list[str]:
    """Add a layer's step.

    Args:
        graph: the graph to add nodes to.
        weights: of the stack.
        layer: the number of the layer.
        projected: names of the input's projections, one per part of :attr:`GraphWeights.parts`.
        state: names of the layer's state before the step, ``[batch, U]`` float: h, and for an LSTM c.

    Returns:
        Names of the state after the step.
    """
    add = _add_gru_step if weights.cell == "gru" else _add_lstm_step
    return add(graph, weights, layer, projected, state)


def _add_gru_step(graph: Graph, weights: GraphWeights, layer: int, projected: list[str], state: list[str]) -> list[str]:
    (h,) = state
    units = weights.units[layer]
    name = f"layers.{layer}"
    if len(projected) == 2:
        projected_gates, projected_candidate = projected
        gates = weights.product(graph, h, f"{name}.recurrent_kernel.gates", projected_gates)
        recurrent_candidate = weights.product(
            graph, h, f"{name}.recurrent_kernel.candidate", f"{name}.recurrent_bias.candidate"
        )
    else:
        recurrent = weights.product(graph, h, f"{name}.recurrent_kernel", f"{name}.recurrent_bias")
        cut = graph.constant(np.array([2 * units, units]))
        projected_gates, projected_candidate = graph.add_multiple("Split", 2, *projected, cut, axis=1)
        recurrent_gates, recurrent_candidate = graph.add_multiple("Split", 2, recurrent, cut, axis=1)
        gates = graph.add("Add", projected_gates, recurrent_gates)
    gates = graph.add("Sigmoid", gates)
    update, reset = graph.add_multiple("Split", 2, gates, graph.constant(np.array([units, units])), axis=1)
    candidate = graph.add("Tanh", graph.add("Add", projected_candidate, graph.add("Mul", reset, recurrent_candidate)))
    kept = graph.add("Mul", update, graph.add("Sub", h, candidate))
    return [graph.add("Add", candidate, kept)]


def _add_lstm_step(
    graph: Graph, weights: GraphWeights, layer: int, projected: list[str], state: list[str]
) -> list[str]:
    h, c = state
    units = weights.units[layer]
    total = weights.product(graph, h, f"layers.{layer}.recurrent_kernel", *projected)
    cut = graph.constant(np.array([3 * units, units]))
    sigmoids, candidate = graph.add_multiple("Split", 2, total, cut, axis=1)
    thirds = graph.constant(np.array([units, units, units]))
    take, forget, output = graph.add_multiple("Split", 3, graph.add("Sigmoid", sigmoids), thirds, axis=1)
    kept, taken = graph.add("Mul", forget, c), graph.add("Mul", take, graph.add("Tanh", candidate))
    cell = graph.add("Add", kept, taken)
    return [graph.add("Mul", output, graph.add("Tanh", cell)), cell]
