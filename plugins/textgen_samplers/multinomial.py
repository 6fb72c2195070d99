"""``multinomial``: an id, drawn by its probability."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from textgen import GraphBuilder, Logits, Selector

#: Numbers of data types in ONNX (``TensorProto.DataType``).
INT32, INT64, DOUBLE = 6, 7, 11


class Multinomial(Selector):
    """Draws an id with probability softmax(logits), by inverting the cumulative distribution.

    With weights w = exp(logits - max) and their cumulative sums c, the id is the first with c > u * c[-1]. As u is at
    most 1 - 2**-24, the product is below c[-1] however it is rounded, so there is always such an id, and its
    weight is never 0. The sums are float64: in float32 each runtime would round them differently, and one text in a
    thousand would differ.

    Example:
        >>> Multinomial(Multinomial.Options()).select(np.log(np.float32([[0.5, 0.25, 0.25]])), np.float32([0.6]))
        array([1], dtype=int32)
    """

    def select(self, logits: Logits, uniforms: NDArray[np.float32]) -> NDArray[np.int32]:
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        cumulative = np.cumsum(weights, axis=1, dtype=np.float64)
        threshold = uniforms[:, None] * cumulative[:, -1:]
        return np.asarray((cumulative <= threshold).sum(axis=1), dtype=np.int32)

    def emit(self, graph: GraphBuilder, logits: str, uniforms: str) -> str:
        weights = graph.add("Cast", graph.add("Softmax", logits, axis=1), to=DOUBLE)
        cumulative = graph.add("CumSum", weights, graph.constant(np.int64(1)))
        total = graph.add("Gather", cumulative, graph.constant(np.array([-1], np.int64)), axis=1)
        threshold = graph.add("Mul", graph.add("Cast", uniforms, to=DOUBLE), total)
        passed = graph.add("LessOrEqual", cumulative, threshold)
        count = graph.add("ReduceSum", graph.add("Cast", passed, to=INT32), graph.constant(np.array([1])), keepdims=0)
        return graph.add("Cast", count, to=INT64)
