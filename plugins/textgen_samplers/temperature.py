"""``temperature(t)``: sharper or flatter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from textgen.options import Options
from textgen.sampler import Logits, Parameters, Sampler


class TemperatureOptions(Options):
    """Options of ``temperature``."""

    temperature: float = Field(1.0, ge=0, allow_inf_nan=False, description="Divides the logits; 0 is greedy.")


class Temperature(Sampler):
    """Divides logits by t, which raises probabilities to the power 1/t; t = 0 leaves the likeliest id alone.

    Example:
        >>> options = TemperatureOptions(temperature=0.5)
        >>> Temperature(options).transform(np.float32([[1, 2]]), {"temperature": np.float32([[0.5]])}, None)
        array([[-2.,  0.]], dtype=float32)
    """

    Options = TemperatureOptions

    def transform(self, logits: Logits, parameters: Parameters, seen: NDArray[np.bool_] | None) -> Logits:
        temperature = parameters["temperature"]
        below_best = logits - logits.max(axis=1, keepdims=True)  # at most 0, so that a small t cannot overflow to inf
        with np.errstate(over="ignore"):
            scaled = below_best / np.where(temperature > 0, temperature, 1)
        if (temperature > 0).all():
            return scaled
        best = np.arange(logits.shape[1]) == logits.argmax(axis=1)[:, None]
        greedy = np.where(best, np.float32(0), np.float32(-np.inf))
        return np.where(temperature > 0, scaled, greedy)
