"""``temperature(t)``: a sharper or flatter distribution."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from textgen import GraphBuilder, Logits, Parameters, Sampler
from textgen.options import Options

#: Replaces t = 0: any logit below the best one, however little, gets a weight of exp(-huge) = 0.
SMALLEST = np.finfo(np.float32).tiny


class TemperatureOptions(Options):
    """Options of ``temperature``."""

    temperature: float = Field(1.0, ge=0, le=1e6, description="Divides the logits; 0 is greedy.")


class Temperature(Sampler):
    """Divides logits by t, which raises probabilities to the power 1/t.

    At t = 0 it takes the limit: only the most likely id, and ids exactly as likely, remain.

    Example:
        >>> options = TemperatureOptions(temperature=0.5)
        >>> Temperature(options).transform(np.float32([[1, 2]]), {"temperature": np.float32([[0.5]])}, None)
        array([[-2.,  0.]], dtype=float32)
    """

    Options = TemperatureOptions

    def transform(self, logits: Logits, parameters: Parameters, seen: NDArray[np.bool_] | None) -> Logits:
        below_best = logits - logits.max(axis=1, keepdims=True)  # at most 0: a small t overflows to -inf, never to nan
        with np.errstate(over="ignore"):
            scaled: Logits = below_best / np.maximum(parameters["temperature"], SMALLEST)
        return scaled

    def emit(self, graph: GraphBuilder, logits: str, parameters: Mapping[str, str], seen: str | None) -> str:
        best = graph.add("ReduceMax", logits, axes=[1], keepdims=1)
        divisor = graph.add("Max", parameters["temperature"], graph.constant(SMALLEST))
        return graph.add("Div", graph.add("Sub", logits, best), divisor)
