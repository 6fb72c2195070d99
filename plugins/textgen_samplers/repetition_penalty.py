"""``repetition-penalty(r)``: ids that a row already contains become less likely."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from textgen import GraphBuilder, Logits, Parameters, Sampler
from textgen.options import Options


class RepetitionPenaltyOptions(Options):
    """Options of ``repetition-penalty``."""

    penalty: float = Field(
        1.1, ge=1e-3, le=1e3, description="Above 1 discourages repetition; 1 does nothing. Put it first."
    )


class RepetitionPenalty(Sampler):
    """Divides positive logits of ids in the prompt and text of the row by r, and multiplies negative ones by r.

    It depends on the sign of the logits of the model, so it comes first in a chain: other samplers shift them.

    The formula is that of CTRL (Keskar et al., 2019), as in ``RepetitionPenaltyLogitsProcessor`` of Hugging Face.

    Example:
        >>> options = RepetitionPenaltyOptions(penalty=2)
        >>> seen = np.array([[True, True, False]])
        >>> RepetitionPenalty(options).transform(np.float32([[4, -4, 4]]), {"penalty": np.float32([[2]])}, seen)
        array([[ 2., -8.,  4.]], dtype=float32)
    """

    Options = RepetitionPenaltyOptions
    uses_history = True
    neutral: ClassVar = {"penalty": 1}

    def transform(self, logits: Logits, parameters: Parameters, seen: NDArray[np.bool_] | None) -> Logits:
        assert seen is not None
        penalty = parameters["penalty"]
        with np.errstate(over="ignore"):
            return np.where(seen, np.where(logits > 0, logits / penalty, logits * penalty), logits)

    def emit(self, graph: GraphBuilder, logits: str, parameters: Mapping[str, str], seen: str | None) -> str:
        assert seen is not None
        penalty = parameters["penalty"]
        positive = graph.add("Greater", logits, graph.constant(np.float32(0)))
        lessened = graph.add("Where", positive, graph.add("Div", logits, penalty), graph.add("Mul", logits, penalty))
        return graph.add("Where", seen, lessened, logits)
