from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from textgen.dataset import Batch, Dataset, EncodedText
from textgen.model import Checkpoint, Position, TrainingOptions


class FakeRun:
    """A :class:`textgen.model.TrainingRun` in memory that remembers what it was told.

    Args:
        dataset: whose batches it hands out.
        checkpoint: where to go on from.
        callbacks: Keras callbacks.
        callback_paths: the training option ``callbacks``.
        stop_after: batches in all after which it asks to stop.
        options: the other training options.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        checkpoint: Checkpoint | None = None,
        callbacks: Sequence[Any] = (),
        callback_paths: tuple[str, ...] = (),
        stop_after: int | None = None,
        **options: Any,
    ) -> None:
        self.options = TrainingOptions(callbacks=callback_paths, **options)
        self.checkpoint = checkpoint
        self.callbacks = callbacks
        self.positions: list[Position] = []
        self.losses: list[float] = []
        self.characters: list[int] = []
        self.epochs: list[tuple[Position, Mapping[str, float], Checkpoint]] = []
        self.interruption: Checkpoint | None = None
        self._dataset = dataset
        self._stop_after = stop_after

    @property
    def should_stop(self) -> bool:
        return bool(self.positions) and self.positions[-1].total == self._stop_after

    def batches(self, position: Position) -> Iterator[Batch]:
        for batch in self._dataset.train.batches(position.epoch, position.step):
            if self.should_stop:
                return
            yield batch

    def batch_ended(self, position: Position, loss: float, characters: int) -> None:
        self.positions.append(position)
        self.losses.append(loss)
        self.characters.append(characters)

    def epoch_ended(self, position: Position, metrics: Mapping[str, float], checkpoint: Checkpoint) -> None:
        self.epochs.append((position, metrics, checkpoint))

    def interrupted(self, checkpoint: Checkpoint) -> None:
        self.interruption = checkpoint


@pytest.fixture(scope="session")
def make_run() -> Callable[..., FakeRun]:
    return FakeRun


@pytest.fixture(scope="session")
def stream() -> EncodedText:
    """400 ids below 5 with a pattern that can be learnt."""
    rng = np.random.default_rng(0)
    return EncodedText.join([np.cumsum(rng.integers(1, 3, 400)).astype(np.int32) % 5])


@pytest.fixture(scope="session")
def documents() -> EncodedText:
    """21 documents of 1 to 9 ids from 1 to 4; 0 pads."""
    rng = np.random.default_rng(1)
    return EncodedText.join([rng.integers(1, 5, length).astype(np.int32) for length in rng.integers(1, 10, 21)])
