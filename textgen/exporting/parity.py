"""Parity: how far an export is from its source in logits, likeliest ids, and loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from textgen.errors import ArtifactError
from textgen.exporting.exporter import ExportSource
from textgen.generation.runtime import Runtime

#: The largest difference of logits of an fp32 export, and the largest relative rise in loss of any export.
LOGITS_BOUND, LOSS_BOUND = 1e-4, 0.01

#: Steps and rows of the comparison, and steps per call.
STEPS, ROWS, STEPS_PER_CALL = 1000, 2, 100


@dataclass(frozen=True, kw_only=True)
class Parity:
    """The figures of a comparison.

    Attributes:
        max_logit_difference: over :data:`STEPS` steps of :data:`ROWS` rows, each runtime carrying its own state.
        greedy_agreement: share of steps in which both runtimes find the same id likeliest.
        loss: of the source on the text, in nats per character.
        export_loss: of the export on the same text.
        text: a description of the text.
    """

    max_logit_difference: float
    greedy_agreement: float
    loss: float
    export_loss: float
    text: str

    @classmethod
    def measure(cls, reference: Runtime, export: Runtime, source: ExportSource) -> Self:
        """Compare an export with its source.

        Args:
            reference: the source, in a runtime that runs its weights.
            export: the export.
            source: measures losses.
        """
        ids = np.random.default_rng(0).integers(0, reference.vocab_size, (ROWS, STEPS)).astype(np.int32)
        difference, agreement = 0.0, 0.0
        states = [runtime.initial_state(ROWS) for runtime in (reference, export)]
        for at in range(0, STEPS, STEPS_PER_CALL):
            part = ids[:, at : at + STEPS_PER_CALL]
            (expected, states[0]), (found, states[1]) = (
                runtime.forward(part, state) for runtime, state in zip((reference, export), states, strict=True)
            )
            difference = max(difference, float(np.abs(expected - found).max()))
            agreement += float((expected.argmax(axis=2) == found.argmax(axis=2)).mean()) * part.shape[1] / STEPS
        return cls(
            max_logit_difference=difference,
            greedy_agreement=agreement,
            loss=source.measure_loss(reference),
            export_loss=source.measure_loss(export),
            text=source.text,
        )

    @property
    def loss_increase(self) -> float:
        """The rise in loss relative to the source's; absolute if that is 0, as for a vocabulary of one character."""
        return self.export_loss / self.loss - 1 if self.loss else self.export_loss

    def figures(self) -> dict[str, float]:
        """The figures by name."""
        return {
            "max_logit_difference": self.max_logit_difference,
            "greedy_agreement": self.greedy_agreement,
            "loss": self.loss,
            "export_loss": self.export_loss,
            "loss_increase": self.loss_increase,
        }

    def check(self, precision: str) -> None:
        """Raise :class:`ArtifactError` if the export exceeds the bound of its precision."""
        if precision == "fp32" and not self.max_logit_difference <= LOGITS_BOUND:
            raise ArtifactError(
                f"the fp32 export differs from its source by {self.max_logit_difference:.1e} in logits, more than "
                f"{LOGITS_BOUND:.0e}; nothing was written"
            )
        if not self.loss_increase <= LOSS_BOUND:
            raise ArtifactError(
                f"the {precision} export's loss on {self.text} is {self.export_loss:.4f} nats per character, "
                f"{self.loss_increase:.1%} above its source's {self.loss:.4f}, more than {LOSS_BOUND:.0%}; "
                "nothing was written"
            )
