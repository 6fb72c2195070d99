"""``greedy``: the most likely id."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from textgen import GraphBuilder, Logits, Selector


class Greedy(Selector):
    """Takes the id with the largest logit; ties go to the lowest id.

    Example:
        >>> Greedy(Greedy.Options()).select(np.float32([[0, 2, 2]]), np.float32([0.9]))
        array([1], dtype=int32)
    """

    def select(self, logits: Logits, uniforms: NDArray[np.float32]) -> NDArray[np.int32]:
        return np.asarray(logits.argmax(axis=1), dtype=np.int32)

    def emit(self, graph: GraphBuilder, logits: str, uniforms: str) -> str:
        return graph.add("ArgMax", logits, axis=1, keepdims=0)
