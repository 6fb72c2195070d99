"""``top-k(k)``: the k most likely ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from textgen import GraphBuilder, Logits, Parameters, Sampler
from textgen.options import Options


class TopKOptions(Options):
    """Options of ``top-k``."""

    k: int = Field(40, ge=1, description="Number of ids to keep; a number above the size of the vocabulary keeps all.")


class TopK(Sampler):
    """Keeps exactly the k ids with the largest logits; ties go to the lower ids (Fan et al., 2018).

    Example:
        >>> TopK(TopKOptions(k=2)).transform(np.float32([[1, 3, 1]]), {"k": np.float32([[2]])}, None)
        array([[  1.,   3., -inf]], dtype=float32)
    """

    Options = TopKOptions
    neutral: ClassVar = {"k": 1e9}  # more than the ids of any vocabulary

    def transform(self, logits: Logits, parameters: Parameters, seen: NDArray[np.bool_] | None) -> Logits:
        order = np.argsort(-logits, axis=1, kind="stable")
        ranks = np.empty_like(order)
        np.put_along_axis(ranks, order, np.arange(logits.shape[1])[None, :], axis=1)
        return np.where(ranks < parameters["k"], logits, np.float32(-np.inf))

    def emit(self, graph: GraphBuilder, logits: str, parameters: Mapping[str, str], seen: str | None) -> str:
        size = graph.constant(np.array([graph.vocab_size]))
        values, ids = graph.add_multiple("TopK", 2, logits, size, axis=1)
        ranks = graph.constant(np.arange(graph.vocab_size, dtype=np.float32)[None, :])
        excluded = graph.constant(np.float32(-np.inf))
        kept = graph.add("Where", graph.add("Less", ranks, parameters["k"]), values, excluded)
        return graph.add("ScatterElements", logits, ids, kept, axis=1)
