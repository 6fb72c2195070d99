"""A run in a process that learns with others and leaves the rest to one of them."""

from __future__ import annotations

from collections.abc import Mapping

from textgen.model.fitting import Checkpoint, Position
from textgen.training.run import EpochTotals, Run


class Follower(Run):
    """The run in a process that is not its cluster's chief: it learns with the others, and writes and shows nothing."""

    def begin(self) -> None:
        pass

    def _open(self) -> None:
        pass

    def batch_ended(self, position: Position, loss: float, characters: int, learning_rate: float | None = None) -> None:
        self._add(position, loss, characters)

    def epoch_ended(self, position: Position, metrics: Mapping[str, float], checkpoint: Checkpoint) -> None:
        self._epoch = EpochTotals(position)

    def interrupted(self, checkpoint: Checkpoint, held_out_loss: float | None = None) -> None:
        pass

    def finish(self) -> None:
        self.artifact.manifest.status = "interrupted" if self.was_stopped else "finished"
