"""``temperature(t)``: a sharper or flatter distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

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

    At t = 0 it takes the limit: only the most likely id, and ids exactly as likely, remain. At t = 1 it changes
    nothing; at any other t it also subtracts the largest logit.

    Example:
        >>> options = TemperatureOptions(temperature=0.5)
        >>> Temperature(options).transform(np.float32([[1, 2]]), {"temperature": np.float32([[0.5]])}, None)
        array([[-2.,  0.]], dtype=float32)
    """

    Options = TemperatureOptions
    neutral: ClassVar = {"temperature": 1}

    def transform(self, logits: Logits, parameters: Parameters, seen: NDArray[np.bool_] | None) -> Logits:
        temperature = parameters["temperature"]
        best = logits.max(axis=1, keepdims=True)
        best = np.where(temperature == 1, np.zeros_like(best), best)
        with np.errstate(over="ignore"):  # logits - best is at most 0: a small t overflows to -inf, never to nan
            scaled: Logits = (logits - best) / np.maximum(temperature, SMALLEST)
        return scaled

    def emit(self, graph: GraphBuilder, logits: str, parameters: Mapping[str, str], seen: str | None) -> str:
        temperature = parameters["temperature"]
        is_neutral = graph.add("Equal", temperature, graph.constant(np.float32(1)))
        best = graph.add("ReduceMax", logits, axes=[1], keepdims=1)
        best = graph.add("Where", is_neutral, graph.constant(np.float32(0)), best)
        divisor = graph.add("Max", temperature, graph.constant(SMALLEST))
        return graph.add("Div", graph.add("Sub", logits, best), divisor)
