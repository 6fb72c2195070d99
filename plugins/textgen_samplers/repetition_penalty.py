"""``repetition-penalty(r)``: ids that a row already has become less likely."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from textgen.options import Options
from textgen.sampler import Logits, Parameters, Sampler


class RepetitionPenaltyOptions(Options):
    """Options of ``repetition-penalty``."""

    penalty: float = Field(
        1.1, gt=0, allow_inf_nan=False, description="Above 1 discourages repetition; 1 does nothing."
    )


class RepetitionPenalty(Sampler):
    """Divides the positive logits of ids seen in the row's prompt and text by r, multiplies the negative ones by r.

    The formula is that of CTRL (Keskar et al., 2019), as Hugging Face's ``RepetitionPenaltyLogitsProcessor`` has it.

    Example:
        >>> options = RepetitionPenaltyOptions(penalty=2)
        >>> seen = np.array([[True, True, False]])
        >>> RepetitionPenalty(options).transform(np.float32([[4, -4, 4]]), {"penalty": np.float32([[2]])}, seen)
        array([[ 2., -8.,  4.]], dtype=float32)
    """

    Options = RepetitionPenaltyOptions
    uses_history = True

    def transform(self, logits: Logits, parameters: Parameters, seen: NDArray[np.bool_] | None) -> Logits:
        penalty = parameters["penalty"]
        return np.where(seen, np.where(logits > 0, logits / penalty, logits * penalty), logits)
