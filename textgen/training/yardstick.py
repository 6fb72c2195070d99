"""The yardstick: an n-gram, counted in the training text of another model, and judged by the same held-out text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from textgen.model.fitting import Checkpoint, Position, TrainingOptions
from textgen.model.model import Model
from textgen.plugins.registry import Registry
from textgen.text.batches import Batch, Dataset

#: The model whose held-out loss stands beside that of every other one, by registered name.
YARDSTICK = "ngram"

#: The most tokens of a training text that it is counted in, which takes some ten seconds.
MOST_TARGETS = 2_000_000


def count_yardstick(
    dataset: Dataset, vocab_size: int, registry: Registry, should_stop: Callable[[], bool] = lambda: False
) -> tuple[Model, float] | None:
    """An n-gram of a training text, which is read once, in seconds.

    Args:
        dataset: what another model was trained on and judged by.
        vocab_size: the number of ids.
        registry: where the n-gram is looked up.
        should_stop: whether the user asked to stop.

    Returns:
        The n-gram, and its held-out loss in nats per character; ``None`` if nothing is held out, the text is too long,
        the n-gram's plugin is disabled, or it was stopped.
    """
    if dataset.held_out is None or not any(item.name == YARDSTICK for item in registry.provided("model")):
        return None
    model: Model = registry.make("model", {"name": YARDSTICK}, vocab_size)
    counting = _Counting(dataset, should_stop)
    model.fit(dataset, counting)
    if counting.held_out_loss is None:
        return None
    return model, counting.held_out_loss / dataset.held_out_characters_per_target


class _Counting:
    """A run of one epoch that keeps the held-out loss."""

    checkpoint: Checkpoint | None = None
    should_save = False

    def __init__(self, dataset: Dataset, should_stop: Callable[[], bool]) -> None:
        self.options = TrainingOptions(epochs=1)
        self.held_out_loss: float | None = None
        self._dataset = dataset
        self._should_stop = should_stop
        self._targets = 0

    @property
    def should_stop(self) -> bool:
        return self._should_stop() or self._targets > MOST_TARGETS

    def batches(self, position: Position) -> Iterator[Batch]:
        """Yields the batches of the text; none if it is too long, as far as the first one tells."""
        train = self._dataset.train
        for number, batch in enumerate(train.batches(position.epoch, position.step)):
            is_long = number == 0 and batch.weights.sum() * train.steps > MOST_TARGETS
            if is_long or self.should_stop:
                return
            yield batch

    def batch_ended(self, position: Position, loss: float, targets: int, learning_rate: float | None = None) -> None:
        self._targets += targets

    def epoch_ended(self, position: Position, metrics: Mapping[str, float], checkpoint: Checkpoint) -> None:
        self.held_out_loss = metrics["held_out_loss"]

    def interrupted(self, checkpoint: Checkpoint, held_out_loss: float | None = None) -> None:
        """Leaves no loss."""

    def save(self, checkpoint: Checkpoint) -> None:
        """Is never due."""

    def ask_to_stop(self) -> None:
        """Is not part of a cluster."""
