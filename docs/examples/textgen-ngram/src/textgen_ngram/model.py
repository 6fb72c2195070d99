"""The model ``ngram``, which is trained by reading the text once, in NumPy."""

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

    order: int = Field(5, ge=2, le=12, description="Characters per n-gram: the predicted one and those before it.")


class NGram(Model):
    """Predicts a character from the ``order - 1`` before it, by counts of n-grams in the training text.

    The smoothing is Witten and Bell's, see :meth:`textgen_ngram.counts.Counts.probabilities`. One epoch is enough:
    further epochs count the same text again, which only weakens the smoothing.

    Raises:
        OptionError: if the order is too large for the vocabulary.
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
        """``context``, int32 of shape ``[order - 1]``: the last ids plus 1, and 0 before the first id."""
        return StateSpec((TensorSpec("context", (self.options.order - 1,), "int32"),))

    @property
    def parameter_count(self) -> int:
        """The number of probabilities; an artifact stores only the n-grams that occur."""
        return int(self.vocab_size**self.options.order)

    def fit(self, dataset: Dataset, run: TrainingRun) -> None:
        reading = self._restore(run.checkpoint) if run.checkpoint else _Reading(Position())
        while reading.at.epoch < run.options.epochs and not run.should_stop:
            for batch in run.batches(reading.at):
                contexts, loss, characters = self._predict(batch, reading, dataset.carries_state)
                grams = np.concatenate([contexts, batch.targets[..., None] + 1], axis=2)[batch.weights > 0]
                self._new.add(self._new.encode(grams), np.ones(len(grams), np.int64))
                # Merged only once the new n-grams outnumber the old, so that the work grows linearly with the text.
                if len(self._new.codes) > len(self._counts.codes):
                    self._merge()
                run.batch_ended(reading.at, loss, characters)
                if run.should_save:
                    run.save(self._checkpoint(reading))
            if reading.at.step < dataset.train.steps:
                run.interrupted(self._checkpoint(reading))
                return
            self._merge()
            metrics = {"loss": reading.loss}
            if dataset.held_out is not None:
                held_out = _Reading(Position())
                for batch in dataset.held_out.batches(epoch=0):
                    self._predict(batch, held_out, dataset.carries_state)
                metrics["held_out_loss"] = held_out.loss
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
        merged = Counts(self.options.order, self.vocab_size)  # training may continue: its counts stay as they are
        for counts in (self._counts, self._new):
            merged.add(counts.codes, counts.counts)
        return {"ngrams": merged.codes, "counts": merged.counts}

    def load_weights(self, tensors: Tensors) -> None:
        shapes = {name: (array.dtype.name, array.ndim) for name, array in tensors.items()}
        if shapes != {"ngrams": ("int64", 1), "counts": ("int64", 1)} or len({*map(len, tensors.values())}) != 1:
            raise ArtifactError(f"the weights are not n-grams and their counts: {shapes}")
        self._counts = Counts(self.options.order, self.vocab_size)
        self._counts.add(tensors["ngrams"], tensors["counts"])

    def _read(
        self, ids: NDArray[np.int32], state: State, lengths: NDArray[np.int32] | None
    ) -> tuple[NDArray[np.int32], State]:
        """Returns the context after each id, ``[batch, time, order - 1]``, and the state after each row."""
        read = np.concatenate([state["context"], ids + 1], axis=1)
        windows = sliding_window_view(read, self.options.order - 1, axis=1)
        last = np.full(len(ids), ids.shape[1]) if lengths is None else lengths
        return windows[:, 1:], State({"context": windows[np.arange(len(ids)), last]})

    def _predict(self, batch: Batch, reading: _Reading, carries_state: bool) -> tuple[NDArray[np.int32], float, int]:
        """Predicts a batch from the counts so far; returns contexts, mean loss in nats, number of counted targets."""
        before = reading.state
        if before is None or not carries_state or batch.resets_state or before.batch != len(batch.inputs):
            before = self.state_spec.initial_state(len(batch.inputs))
        contexts, after = self._read(batch.inputs, before, batch.lengths())
        nats = -np.log(self._counts.probabilities(contexts, batch.targets))
        characters = int(np.count_nonzero(batch.weights))
        loss = float((nats * batch.weights).sum()) / max(characters, 1)
        reading.add(loss, characters, after)
        return contexts, loss, characters

    def _merge(self) -> None:
        """Merges the new counts into those used for predictions."""
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
    """Progress through the text: the position, the state after the last batch, and the loss so far."""

    at: Position
    state: State | None = None
    nats: float = 0.0
    characters: int = 0

    def add(self, loss: float, characters: int, state: State) -> None:
        """Adds a batch."""
        self.at = Position(self.at.epoch, self.at.step + 1, self.at.total + 1)
        self.state = state
        self.nats += loss * characters
        self.characters += characters

    @property
    def loss(self) -> float:
        """The mean loss in nats per character."""
        return self.nats / max(self.characters, 1)
