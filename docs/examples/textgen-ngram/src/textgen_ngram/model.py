"""The model ``ngram``: trained by one reading of the text, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import Field

from textgen import Batch, Checkpoint, Dataset, Model, Position, State, StateSpec, Tensors, TensorSpec, TrainingRun
from textgen.errors import ArtifactError, OptionError
from textgen.options import Options
from textgen_ngram.counts import Counts


class NGramOptions(Options):
    """Options of :class:`NGram`."""

    order: int = Field(
        5, ge=2, le=12, description="Characters of an n-gram: the one that is predicted, and those before it."
    )


class NGram(Model):
    """Predicts a character by the ``order - 1`` before it, from how often each followed them in the training text.

    The smoothing is Witten and Bell's, see :meth:`textgen_ngram.counts.Counts.probabilities`. One epoch is enough: each
    further one counts the same text again, which only makes the smoothing weaker.

    Raises:
        OptionError: where the order is too large for the vocabulary.
    """

    Options = NGramOptions
    native_runtime = "ngram"
    suggested_epochs = 1

    options: NGramOptions

    def __init__(self, options: NGramOptions, vocab_size: int) -> None:
        super().__init__(options, vocab_size)
        if (vocab_size + 1) ** options.order >= 2**63:
            largest = max(n for n in range(1, options.order) if (vocab_size + 1) ** n < 2**63)
            raise OptionError(
                f"model.order={options.order} is too large for {vocab_size:,} characters; use at most {largest}"
            )
        self._counts = Counts(options.order, vocab_size)
        self._new = Counts(options.order, vocab_size)

    @property
    def state_spec(self) -> StateSpec:
        """``context``, int32 of shape ``[order - 1]``: the last ids, each plus 1, and 0 before the first one."""
        return StateSpec((TensorSpec("context", (self.options.order - 1,), "int32"),))

    @property
    def parameter_count(self) -> int:
        """The probabilities that the counts stand for; an artifact keeps only the n-grams that occur."""
        return int(self.vocab_size**self.options.order)

    def fit(self, dataset: Dataset, run: TrainingRun) -> None:
        reading = self._restore(run.checkpoint) if run.checkpoint else _Reading(Position())
        while reading.at.epoch < run.options.epochs and not run.should_stop:
            for batch in run.batches(reading.at):
                contexts, loss, characters = self._meet(batch, reading, dataset.carries_state)
                grams = np.concatenate([contexts, batch.targets[..., None] + 1], axis=2)[batch.weights > 0]
                self._new.add(self._new.encode(grams), np.ones(len(grams), np.int64))
                # Taken over when they are as many as the others: the work then grows with the text, not its square.
                if len(self._new.codes) > len(self._counts.codes):
                    self._take_over()
                run.batch_ended(reading.at, loss, characters)
            if reading.at.step < dataset.train.steps:
                run.interrupted(self._checkpoint(reading))
                return
            self._take_over()
            metrics = {"loss": reading.loss}
            if dataset.held_out is not None:
                judged = _Reading(Position())
                for batch in dataset.held_out.batches(epoch=0):
                    self._meet(batch, judged, dataset.carries_state)
                metrics["held_out_loss"] = judged.loss
            reading = _Reading(Position(reading.at.epoch + 1, 0, reading.at.total))
            run.epoch_ended(reading.at, metrics, self._checkpoint(reading))

    def forward(
        self, ids: NDArray[np.int32], state: State, lengths: NDArray[np.int32] | None = None
    ) -> tuple[NDArray[np.float32], State]:
        self.state_spec.check(state)
        contexts, after = self._read(ids, state, lengths)
        probabilities = self._counts.probabilities(contexts[:, :, None], np.arange(self.vocab_size))
        return np.log(probabilities).astype(np.float32), after

    def weights(self) -> Tensors:
        self._take_over()
        return {"ngrams": self._counts.codes.copy(), "counts": self._counts.counts.copy()}

    def load_weights(self, tensors: Tensors) -> None:
        shapes = {name: (array.dtype.name, array.ndim) for name, array in tensors.items()}
        if shapes != {"ngrams": ("int64", 1), "counts": ("int64", 1)} or len({*map(len, tensors.values())}) != 1:
            raise ArtifactError(f"the weights are no n-grams and their counts: {shapes}")
        self._counts = Counts(self.options.order, self.vocab_size)
        self._counts.add(tensors["ngrams"], tensors["counts"])

    def _read(
        self, ids: NDArray[np.int32], state: State, lengths: NDArray[np.int32] | None
    ) -> tuple[NDArray[np.int32], State]:
        """The context after each id, ``[batch, time, order - 1]``, and the state after each row's last id."""
        read = np.concatenate([state["context"], ids + 1], axis=1)
        windows = sliding_window_view(read, self.options.order - 1, axis=1)
        last = np.full(len(ids), ids.shape[1]) if lengths is None else lengths
        return windows[:, 1:], State({"context": windows[np.arange(len(ids)), last]})

    def _meet(self, batch: Batch, reading: _Reading, carries_state: bool) -> tuple[NDArray[np.int32], float, int]:
        """Predict a batch by the counts so far: its contexts, mean loss in nats, and the targets that count."""
        before = reading.state
        if before is None or not carries_state or batch.resets_state or before.batch != len(batch.inputs):
            before = self.state_spec.initial_state(len(batch.inputs))
        contexts, after = self._read(batch.inputs, before, batch.lengths())
        nats = -np.log(self._counts.probabilities(contexts, batch.targets))
        characters = int(np.count_nonzero(batch.weights))
        loss = float((nats * batch.weights).sum()) / max(characters, 1)
        reading.add(loss, characters, after)
        return contexts, loss, characters

    def _take_over(self) -> None:
        """Let what was counted lately count in predictions."""
        self._counts.add(self._new.codes, self._new.counts)
        self._new = Counts(self.options.order, self.vocab_size)

    def _checkpoint(self, reading: _Reading) -> Checkpoint:
        tensors = {"ngrams": self._counts.codes, "counts": self._counts.counts}
        tensors |= {"new.ngrams": self._new.codes, "new.counts": self._new.counts}
        if reading.state is not None:
            tensors |= reading.state
        return Checkpoint(reading.at, tensors, {"nats": reading.nats, "characters": reading.characters})

    def _restore(self, checkpoint: Checkpoint) -> _Reading:
        tensors, numbers = checkpoint.tensors, checkpoint.numbers
        self.load_weights({name: tensors[name] for name in ("ngrams", "counts")})
        self._new.add(tensors["new.ngrams"], tensors["new.counts"])
        state = State({"context": tensors["context"]}) if "context" in tensors else None
        return _Reading(checkpoint.position, state, numbers["nats"], numbers["characters"])


@dataclass
class _Reading:
    """The reading of the text: where it is, the state that the last batch left, and the loss so far."""

    at: Position
    state: State | None = None
    nats: float = 0.0
    characters: int = 0

    def add(self, loss: float, characters: int, state: State) -> None:
        """Note a batch."""
        self.at = Position(self.at.epoch, self.at.step + 1, self.at.total + 1)
        self.state = state
        self.nats += loss * characters
        self.characters += characters

    @property
    def loss(self) -> float:
        """Mean nats a character."""
        return self.nats / max(self.characters, 1)
