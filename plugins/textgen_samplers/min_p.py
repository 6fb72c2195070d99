"""``min-p(p)``: ids that are not much less likely than the most likely one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from textgen import GraphBuilder, Logits, Parameters, ThresholdSampler
from textgen.options import Options


class MinPOptions(Options):
    """Options of ``min-p``."""

    p: float = Field(0.05, ge=0, le=1, description="Smallest probability to keep, as a fraction of the largest.")


class MinP(ThresholdSampler):
    """Keeps ids whose probability is at least p times that of the most likely id (Nguyen et al., 2024).

    Example:
        >>> MinP(MinPOptions(p=0.5)).transform(np.log(np.float32([[4, 3, 1]])), {"p": np.float32([[0.5]])}, None)
        array([[1.3862944, 1.0986123,      -inf]], dtype=float32)
    """

    Options = MinPOptions
    neutral: ClassVar = {"p": 0}

    def threshold(self, best: Logits, parameters: Parameters) -> Logits:
        with np.errstate(divide="ignore"):
            least: Logits = best + np.log(parameters["p"])
        return least

    def emit_threshold(self, graph: GraphBuilder, best: str, parameters: Mapping[str, str]) -> str:
        return graph.add("Add", best, graph.add("Log", parameters["p"]))
