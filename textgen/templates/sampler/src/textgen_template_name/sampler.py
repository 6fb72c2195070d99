"""The sampler ``template-name(epsilon)``."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from textgen import GraphBuilder, Logits, Parameters, Sampler
from textgen.options import Options


class TemplateNameOptions(Options):
    """Options of :class:`TemplateNameSampler`; a chain lists them in this order."""

    epsilon: float = Field(0.01, ge=0, lt=1, description="Smallest probability to keep.")


class TemplateNameSampler(Sampler):
    """Keeps ids with a probability of at least epsilon, and always the most likely one (Hewitt et al., 2022)."""

    Options = TemplateNameOptions

    def transform(self, logits: Logits, parameters: Parameters, seen: NDArray[np.bool_] | None) -> Logits:
        best = logits.max(axis=1, keepdims=True)
        weights = np.exp(logits - best)
        probabilities = weights / weights.sum(axis=1, keepdims=True)
        kept = (probabilities >= parameters["epsilon"]) | (logits == best)
        return np.where(kept, logits, np.float32(-np.inf))

    # Optional: allows the chain to run inside an exported graph. Remove it, or return None, if that is too hard.
    def emit(self, graph: GraphBuilder, logits: str, parameters: Mapping[str, str], seen: str | None) -> str:
        probable = graph.add("GreaterOrEqual", graph.add("Softmax", logits, axis=1), parameters["epsilon"])
        best = graph.add("Equal", logits, graph.add("ReduceMax", logits, axes=[1], keepdims=1))
        return graph.add("Where", graph.add("Or", probable, best), logits, graph.constant(np.float32(-np.inf)))
