"""``top-p(p)``: the likeliest ids that make up a share p."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from textgen.options import Options
from textgen.sampler import Logits, Parameters, Sampler


class TopPOptions(Options):
    """Options of ``top-p``."""

    p: float = Field(0.9, gt=0, le=1, description="Share of the probability to keep; 1 keeps all.")


class TopP(Sampler):
    """Keeps the smallest set of likeliest ids whose probabilities sum to p or more (nucleus; Holtzman et al., 2020).

    An id is kept where the ids before it, in falling order of logits and rising order of equal ones, sum to less
    than p; so the likeliest always stays.

    Example:
        >>> TopP(TopPOptions(p=0.6)).transform(np.log(np.float32([[0.5, 0.3, 0.2]])), {"p": np.float32([[0.6]])}, None)
        array([[-0.6931472, -1.2039728,       -inf]], dtype=float32)
    """

    Options = TopPOptions

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
