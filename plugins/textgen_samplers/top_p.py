"""``top-p(p)``: the most likely ids, up to a total probability of p."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from textgen import GraphBuilder, Logits, Parameters, RankSampler
from textgen.options import Options


class TopPOptions(Options):
    """Options of ``top-p``."""

    p: float = Field(0.9, ge=1e-6, le=1, description="Total probability to keep; 1 keeps all.")


class TopP(RankSampler):
    """Keeps the fewest most likely ids whose probabilities sum to p or more (nucleus; Holtzman et al., 2020).

    An id is kept if the ids before it, by falling logits and then by rising ids, sum to less than p; so the most
    likely id always stays.

    Example:
        >>> TopP(TopPOptions(p=0.6)).transform(np.log(np.float32([[0.5, 0.3, 0.2]])), {"p": np.float32([[0.6]])}, None)
        array([[-0.6931472, -1.2039728,       -inf]], dtype=float32)
    """

    Options = TopPOptions
    neutral: ClassVar = {"p": 1}

    def keep(self, ranked: Logits, parameters: Parameters) -> NDArray[np.bool_]:
        share = parameters["p"]
        weights = np.exp(ranked - ranked[:, :1])
        cumulative = np.cumsum(weights, axis=1, dtype=np.float32)
        before = np.concatenate([np.zeros_like(cumulative[:, :1]), cumulative[:, :-1]], axis=1)
        return (before < share * cumulative[:, -1:]) | (share >= 1)

    def emit_count(self, graph: GraphBuilder, parameters: Mapping[str, str], left: str) -> str:
        is_neutral = graph.add("GreaterOrEqual", parameters["p"], graph.constant(np.float32(1)))
        return graph.add("Where", is_neutral, graph.constant(np.float32(0)), left)

    def emit_keep(self, graph: GraphBuilder, ranked: str, ranks: str, parameters: Mapping[str, str]) -> str:
        axis, last = graph.constant(np.int64(1)), graph.constant(np.array([-1]))
        best = graph.add("Gather", ranked, graph.constant(np.array([0])), axis=1)
        weights = graph.add("Exp", graph.add("Sub", ranked, best))
        before = graph.add("CumSum", weights, axis, exclusive=1)
        # The sum of all, added in the same order: it does not change with zeros behind.
        total = graph.add("Add", *(graph.add("Gather", each, last, axis=1) for each in (before, weights)))
        is_neutral = graph.add("GreaterOrEqual", parameters["p"], graph.constant(np.float32(1)))
        share = graph.add("Where", is_neutral, graph.constant(np.float32(2)), parameters["p"])  # 2: more than all
        return graph.add("Less", before, graph.add("Mul", share, total))
