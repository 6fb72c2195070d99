"""A training run in memory, to fit a model in a test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from textgen import Batch, Checkpoint, Dataset, Position, TrainingOptions, TrainingRun


class MemoryRun(TrainingRun):
    """A training run that keeps all reports in memory and writes no files.

    Args:
        dataset: the batches to fit.
        schema: the class of the training options, as the model declares it.
        checkpoint: the checkpoint to resume from.
        stop_after: the total number of batches after which it asks to stop.
        save_after: the total number of batches after which it asks for a checkpoint.
        options: the training options.

    Attributes:
        positions: the position after each batch.
        losses: the loss of each batch, in nats per target.
        characters: the number of targets of each batch that counted.
        epochs: the position, metrics and checkpoint of each epoch.
        interruption: the checkpoint of a model that was stopped within an epoch.
        saved: the checkpoint that a model saved within an epoch when it was asked to.
    """

    def __init__(
        self,
        dataset: Dataset,
        schema: type[TrainingOptions] = TrainingOptions,
        *,
        checkpoint: Checkpoint | None = None,
        stop_after: int | None = None,
        save_after: int | None = None,
        **options: Any,
    ) -> None:
        self.options = schema(**options)
        self.checkpoint = checkpoint
        self.positions: list[Position] = []
        self.losses: list[float] = []
        self.characters: list[int] = []
        self.epochs: list[tuple[Position, Mapping[str, float], Checkpoint]] = []
        self.interruption: Checkpoint | None = None
        self.saved: Checkpoint | None = None
        self._dataset = dataset
        self._stop_after = stop_after
        self._save_after = save_after
        self._asked_to_stop = False

    @property
    def should_stop(self) -> bool:
        return self._asked_to_stop or (bool(self.positions) and self.positions[-1].total == self._stop_after)

    @property
    def should_save(self) -> bool:
        is_there = bool(self.positions) and self.positions[-1].total == self._save_after
        return is_there and self.saved is None

    def save(self, checkpoint: Checkpoint) -> None:
        self.saved = checkpoint

    def ask_to_stop(self) -> None:
        self._asked_to_stop = True

    def batches(self, position: Position) -> Iterator[Batch]:
        for batch in self._dataset.train.batches(position.epoch, position.step):
            if self.should_stop:
                return
            yield batch

    def batch_ended(self, position: Position, loss: float, targets: int, learning_rate: float | None = None) -> None:
        self.positions.append(position)
        self.losses.append(loss)
        self.characters.append(targets)

    def epoch_ended(self, position: Position, metrics: Mapping[str, float], checkpoint: Checkpoint) -> None:
        self.epochs.append((position, metrics, checkpoint))

    def interrupted(self, checkpoint: Checkpoint, held_out_loss: float | None = None) -> None:
        self.interruption = checkpoint
