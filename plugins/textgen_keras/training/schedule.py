"""How the step size changes over a run, and when a run has learnt all that it can."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from textgen import TrainingOptions

#: The schedule ``plateau``: epochs without a lower loss before the step size is cut, and by how much.
PLATEAU_EPOCHS, PLATEAU_FACTOR = 2, 0.5


def rate_at(options: TrainingOptions, step: int, steps: int, cuts: int = 0) -> float:
    """The step size of a batch.

    Args:
        options: schedule, highest step size, warm-up.
        step: the batch's number in the run, from 0.
        steps: batches in the whole run.
        cuts: how often a plateau was reached.

    Returns:
        Linear from 0 during warm-up, then ``rate * (1 + cos(pi * progress)) / 2`` (Loshchilov & Hutter 2017, without
        restarts) where the schedule is ``cosine``.
    """
    warmup = min(options.warmup_steps, steps // 10)
    if step < warmup:
        return options.learning_rate * (step + 1) / (warmup + 1)
    if options.schedule == "cosine":
        return options.learning_rate * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1))) / 2
    return options.learning_rate * PLATEAU_FACTOR**cuts


@dataclass
class Progress:
    """How the held-out loss has come along.

    Attributes:
        best: the lowest so far, nats a character.
        since_best: epochs since.
        cuts: plateaus reached.
    """

    best: float = math.inf
    since_best: int = 0
    cuts: int = 0

    def add(self, loss: float) -> None:
        """Note an epoch's loss."""
        if loss < self.best:
            self.best, self.since_best = loss, 0
            return
        self.since_best += 1
        if self.since_best % PLATEAU_EPOCHS == 0:
            self.cuts += 1

    def is_over(self, options: TrainingOptions) -> bool:
        """Whether patience is at an end."""
        return options.patience is not None and self.since_best >= options.patience

    def to_json(self) -> dict[str, Any]:
        """Numbers for a checkpoint; JSON has no infinity."""
        return asdict(self) | {"best": None if math.isinf(self.best) else self.best}

    @classmethod
    def from_json(cls, numbers: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_json`."""
        return cls(**{**numbers, "best": math.inf if numbers["best"] is None else numbers["best"]})
