"""``min-p(p)``: ids that are not much less likely than the most likely one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from textgen import GraphBuilder, Logits, Parameters, Sampler
from textgen.options import Options


class MinPOptions(Options):
    """Options of ``min-p``."""

    p: float = Field(0.05, ge=0, le=1, description="Smallest probability to keep, as a fraction of the largest.")


class MinP(Sampler):
    """Keeps ids whose probability is at least p times that of the most likely id (Nguyen et al., 2024).

    Example:
        >>> MinP(MinPOptions(p=0.5)).transform(np.log(np.float32([[4, 3, 1]])), {"p": np.float32([[0.5]])}, None)
        array([[1.3862944, 1.0986123,      -inf]], dtype=float32)
    """

    Options = MinPOptions
    neutral: ClassVar = {"p": 0}

    def transform(self, logits: Logits, parameters: Parameters, seen: NDArray[np.bool_] | None) -> Logits:
        with np.errstate(divide="ignore"):
            smallest = logits.max(axis=1, keepdims=True) + np.log(parameters["p"])
        return np.where(logits >= smallest, logits, np.float32(-np.inf))

    def emit(self, graph: GraphBuilder, logits: str, parameters: Mapping[str, str], seen: str | None) -> str:
        best = graph.add("ReduceMax", logits, axes=[1], keepdims=1)
        smallest = graph.add("Add", best, graph.add("Log", parameters["p"]))
        kept = graph.add("GreaterOrEqual", logits, smallest)
        return graph.add("Where", kept, logits, graph.constant(np.float32(-np.inf)))
