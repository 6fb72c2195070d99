"""``top-p(p)``: the most likely ids, up to a total probability of p."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from textgen import GraphBuilder, Logits, Parameters, Sampler
from textgen.options import Options


class TopPOptions(Options):
    """Options of ``top-p``."""

    p: float = Field(0.9, ge=1e-6, le=1, description="Total probability to keep; 1 keeps all.")


class TopP(Sampler):
    """Keeps the fewest most likely ids whose probabilities sum to p or more (nucleus; Holtzman et al., 2020).

    An id is kept if the ids before it, by falling logits and then by rising ids, sum to less than p; so the most
    likely id always stays.

    Example:
        >>> TopP(TopPOptions(p=0.6)).transform(np.log(np.float32([[0.5, 0.3, 0.2]])), {"p": np.float32([[0.6]])}, None)
        array([[-0.6931472, -1.2039728,       -inf]], dtype=float32)
    """

    Options = TopPOptions
    neutral: ClassVar = {"p": 1}

    def transform(self, logits: Logits, parameters: Parameters, seen: NDArray[np.bool_] | None) -> Logits:
        share = parameters["p"]
        order = np.argsort(-logits, axis=1, kind="stable")
        weights = np.exp(np.take_along_axis(logits, order, axis=1) - logits.max(axis=1, keepdims=True))
        cumulative = np.cumsum(weights, axis=1, dtype=np.float32)
        before = np.concatenate([np.zeros_like(cumulative[:, :1]), cumulative[:, :-1]], axis=1)
        kept_in_order = (before < share * cumulative[:, -1:]) | (share >= 1)
        kept = np.empty_like(kept_in_order)
        np.put_along_axis(kept, order, kept_in_order, axis=1)
        return np.where(kept, logits, np.float32(-np.inf))

    def emit(self, graph: GraphBuilder, logits: str, parameters: Mapping[str, str], seen: str | None) -> str:
        size = graph.constant(np.array([graph.vocab_size]))
        values, ids = graph.add_multiple("TopK", 2, logits, size, axis=1)
        axis = graph.constant(np.int64(1))
        weights = graph.add("Softmax", values, axis=1)
        before = graph.add("CumSum", weights, axis, exclusive=1)
        total = graph.add("Gather", graph.add("CumSum", weights, axis), graph.constant(np.array([-1])), axis=1)
        inside = graph.add("Less", before, graph.add("Mul", parameters["p"], total))
        all_of_it = graph.add("GreaterOrEqual", parameters["p"], graph.constant(np.float32(1)))
        kept = graph.add("Where", graph.add("Or", inside, all_of_it), values, graph.constant(np.float32(-np.inf)))
        return graph.add("ScatterElements", logits, ids, kept, axis=1)
