"""The learning rate over a run, and the decision that a run has stopped improving."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from textgen_keras.training.options import GradientOptions

#: The schedule ``plateau``: the number of epochs without a lower loss after which the rate is cut, and the factor.
PLATEAU_EPOCHS, PLATEAU_FACTOR = 2, 0.5


def rate_at(options: GradientOptions, step: int, steps: int, cuts: int = 0) -> float:
    """The learning rate of a batch.

    Args:
        options: schedule, highest rate, warm-up.
        step: the batch's number in the run, from 0.
        steps: the number of batches in the whole run.
        cuts: the number of plateaus so far.

    Returns:
        A rate that rises linearly from 0 during warm-up. After it, ``rate * (1 + cos(pi * progress)) / 2`` (Loshchilov
        & Hutter 2017, without restarts) if the schedule is ``cosine``, else ``rate * PLATEAU_FACTOR ** cuts``.
    """
    warmup = min(options.warmup_steps, steps // 10)
    if step < warmup:
        return options.learning_rate * (step + 1) / (warmup + 1)
    if options.schedule == "cosine":
        return options.learning_rate * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1))) / 2
    return options.learning_rate * PLATEAU_FACTOR**cuts


@dataclass
class Plateau:
    """The epochs since the lowest held-out loss, which decide on cuts of the step size.

    Attributes:
        best: the lowest loss so far, in nats per character.
        since_best: the number of epochs since then.
        cuts: the number of plateaus so far.
    """

    best: float = math.inf
    since_best: int = 0
    cuts: int = 0

    def add(self, loss: float) -> None:
        """Record an epoch's loss."""
        if loss < self.best:
            self.best, self.since_best = loss, 0
            return
        self.since_best += 1
        if self.since_best % PLATEAU_EPOCHS == 0:
            self.cuts += 1

    def to_json(self) -> dict[str, Any]:
        """The attributes as JSON values, for a checkpoint; infinity becomes ``None``."""
        return asdict(self) | {"best": None if math.isinf(self.best) else self.best}

    @classmethod
    def from_json(cls, numbers: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_json`."""
        return cls(**{**numbers, "best": math.inf if numbers["best"] is None else numbers["best"]})
