"""``top-k(k)``: the k most likely ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from textgen import GraphBuilder, Logits, Parameters, RankSampler
from textgen.options import Options


class TopKOptions(Options):
    """Options of ``top-k``."""

    k: int = Field(40, ge=1, description="Number of ids to keep; a number above the size of the vocabulary keeps all.")


class TopK(RankSampler):
    """Keeps exactly the k ids with the largest logits; ties go to the lower ids (Fan et al., 2018).

    Example:
        >>> TopK(TopKOptions(k=2)).transform(np.float32([[1, 3, 1]]), {"k": np.float32([[2]])}, None)
        array([[  1.,   3., -inf]], dtype=float32)
    """

    Options = TopKOptions
    neutral: ClassVar = {"k": 1e9}  # more than the ids of any vocabulary

    def keep(self, ranked: Logits, parameters: Parameters) -> NDArray[np.bool_]:
        return np.arange(ranked.shape[1]) < parameters["k"]

    def emit_count(self, graph: GraphBuilder, parameters: Mapping[str, str], left: str) -> str:
        fewer = graph.add("Less", parameters["k"], left)
        return graph.add("Where", fewer, parameters["k"], graph.constant(np.float32(0)))

    def emit_keep(self, graph: GraphBuilder, ranked: str, ranks: str, parameters: Mapping[str, str]) -> str:
        return graph.add("Less", ranks, parameters["k"])
