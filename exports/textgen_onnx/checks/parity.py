"""How far an export is from its source: logits and greedy text against NumPy, loss on held-out text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textgen import ExportSource, Runtime
from textgen.errors import ArtifactError

#: Largest difference of logits of an fp32 export, and largest relative rise in loss of an fp16 or int8 one.
LOGITS_BOUND, LOSS_BOUND = 1e-4, 0.01

#: Steps and rows of the comparison, and ids of a row that are read at once.
STEPS, ROWS, CHUNK = 1000, 2, 100


@dataclass(frozen=True)
class Parity:
    """The comparison's figures.

    Attributes:
        max_logit_difference: over :data:`STEPS` steps of :data:`ROWS` rows, each runtime carrying its own state.
        greedy_agreement: share of steps in which both runtimes find the same id likeliest.
        loss: of the source, in nats a character, on the text; ``export_loss`` of the export.
        text: what the losses were measured on.
    """

    max_logit_difference: float
    greedy_agreement: float
    loss: float
    export_loss: float
    text: str

    @property
    def loss_increase(self) -> float:
        """The rise in loss relative to the source's; absolute where that is 0, as for a single character."""
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
        """Raise :class:`ArtifactError` where the export is past the bound of its precision."""
        if precision == "fp32" and not self.max_logit_difference <= LOGITS_BOUND:
            raise ArtifactError(
                f"the fp32 export differs from its source by {self.max_logit_difference:.1e} in logits, more than "
                f"{LOGITS_BOUND:.0e}; nothing was written"
            )
        if not self.loss_increase <= LOSS_BOUND:
            raise ArtifactError(
                f"the {precision} export's loss on {self.text} is {self.export_loss:.4f} nats a character, "
                f"{self.loss_increase:.1%} above its source's {self.loss:.4f}, more than {LOSS_BOUND:.0%}; "
                "nothing was written"
            )


def compare(reference: Runtime, export: Runtime, source: ExportSource) -> Parity:
    """Compare an export with its source.

    Args:
        reference: the source in a runtime that is trusted.
        export: what is judged.
        source: measures losses.
    """
    ids = np.random.default_rng(0).integers(0, reference.vocab_size, (ROWS, STEPS)).astype(np.int32)
    difference, agreement = 0.0, 0.0
    states = [runtime.initial_state(ROWS) for runtime in (reference, export)]
    for at in range(0, STEPS, CHUNK):
        part = ids[:, at : at + CHUNK]
        (expected, states[0]), (found, states[1]) = (
            runtime.forward(part, state) for runtime, state in zip((reference, export), states, strict=True)
        )
        difference = max(difference, float(np.abs(expected - found).max()))
        agreement += float((expected.argmax(axis=2) == found.argmax(axis=2)).mean()) * part.shape[1] / STEPS
    return Parity(difference, agreement, source.measure_loss(reference), source.measure_loss(export), source.text)
