"""A model that counts: small, exact, and trained in an instant without any training library.

The module is also a plugin; the model and its runtime are called ``counting``::

    from textgen.testing import counting, registered

    with registered(counting):
        textgen.train("names.txt", "counting").generate("A")
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from textgen import (
    Batch,
    Checkpoint,
    Dataset,
    Model,
    Position,
    Register,
    State,
    StateSpec,
    Tensors,
    TensorSpec,
    TrainingRun,
    hookimpl,
)
from textgen.errors import ArtifactError
from textgen.options import Options

#: What is added to counts at least: less would be 0 in float32.
_LEAST = 1e-30


class CountingOptions(Options):
    """Options of :class:`CountingModel`."""

    smoothing: float = Field(1.0, gt=0, le=1e30, description="Added to every count, so that every id is possible.")


class CountingModel(Model):
    """Counts how often an id follows two others: P(c | a, b) = (n(abc) + s) / (n(ab) + s * V).

    Its logits are log-probabilities, and its state is the id before the last one. It reports the same to a run as a
    model trained by gradient descent: batches, epochs, held-out loss, interruptions, and checkpoints to resume from.
    It keeps about V**3 numbers, so V should be small.

    Example:
        >>> model = CountingModel(CountingOptions(), vocab_size=3)
        >>> logits, state = model.forward(np.int32([[0, 1]]), model.state_spec.initial_state(batch=1))
        >>> logits.shape, state["before"].tolist()
        ((1, 2, 3), [2])
    """

    Options = CountingOptions
    native_runtime = "counting"
    adjustable = ("smoothing",)

    options: CountingOptions

    @cached_property
    def _counts(self) -> NDArray[np.float32]:
        """The counts ``[vocab_size + 1, vocab_size, vocab_size]``; memory is taken when they are needed."""
        return np.zeros(self._shape, np.float32)

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self.vocab_size + 1, self.vocab_size, self.vocab_size

    @property
    def state_spec(self) -> StateSpec:
        """``before``, int32 of shape ``[]``: one more than the last id read, or 0 before the first one."""
        return StateSpec((TensorSpec("before", (), "int32"),))

    @property
    def parameter_count(self) -> int:
        return math.prod(self._shape)

    def fit(self, dataset: Dataset, run: TrainingRun) -> None:
        epoch = self._restore(run.checkpoint) if run.checkpoint else _Epoch(Position())
        while epoch.at.epoch < run.options.epochs and not run.should_stop:
            for batch in run.batches(epoch.at):
                state = self._state_before(batch, epoch.state if dataset.carries_state else None)
                loss, characters = self._loss(batch, state)
                np.add.at(self._counts, (*self._contexts(batch.inputs, state), batch.targets), batch.weights)
                epoch.add(loss, characters, State({"before": batch.inputs[:, -1] + 1}))
                run.batch_ended(epoch.at, loss, characters)
                if run.should_save:
                    run.save(self._checkpoint(epoch))
            if epoch.at.step < dataset.train.steps:
                run.interrupted(self._checkpoint(epoch))
                return
            metrics = {"loss": epoch.loss}
            if dataset.held_out is not None:
                metrics["held_out_loss"] = self._held_out_loss(dataset)
            epoch = _Epoch(Position(epoch.at.epoch + 1, 0, epoch.at.total))
            run.epoch_ended(epoch.at, metrics, self._checkpoint(epoch))

    def forward(
        self, ids: NDArray[np.int32], state: State, lengths: NDArray[np.int32] | None = None
    ) -> tuple[NDArray[np.float32], State]:
        self.state_spec.check(state)
        if not ((state["before"] >= 0) & (state["before"] <= self.vocab_size)).all():
            raise ArtifactError("the state is none of the model's: before is not the number of an id")
        counts = self._counts[self._contexts(ids, state)] + np.float32(max(self.options.smoothing, _LEAST))
        logits = np.log(counts / counts.sum(axis=-1, keepdims=True))
        read = np.concatenate([state["before"][:, None], ids + 1], axis=1)
        last = np.full(len(ids), ids.shape[1]) if lengths is None else lengths
        return logits, State({"before": read[np.arange(len(ids)), last]})

    def weights(self) -> Tensors:
        return {"counts": self._counts.copy()}

    def load_weights(self, tensors: Tensors) -> None:
        shapes = {name: array.shape for name, array in tensors.items()}
        if shapes != {"counts": self._shape}:
            raise ArtifactError(f"the weights have the shapes {shapes}, but counts must have {self._shape}")
        if not (tensors["counts"] >= 0).all():
            raise ArtifactError("the weights have counts below 0")
        self._counts = np.array(tensors["counts"], np.float32)

    def grow_weights(self, tensors: Tensors, old_ids: NDArray[np.int32]) -> Tensors:
        before = np.concatenate([[0], np.where(old_ids < 0, -1, old_ids + 1)])  # the first axis begins with "no id"
        axes = np.ix_(before, old_ids, old_ids)
        is_new = (axes[0] < 0) | (axes[1] < 0) | (axes[2] < 0)
        return {"counts": np.where(is_new, np.float32(0), tensors["counts"][axes])}

    def _contexts(self, ids: NDArray[np.int32], state: State) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The index into the counts for each position: one more than the id before it, and the id itself."""
        return np.concatenate([state["before"][:, None], ids[:, :-1] + 1], axis=1), ids

    def _state_before(self, batch: Batch, carried: State | None) -> State:
        if carried is None or not batch.follows(carried.batch, carries_state=True):
            return self.state_spec.initial_state(len(batch.inputs))
        return carried

    def _loss(self, batch: Batch, state: State) -> tuple[float, int]:
        """The mean loss of a batch in nats per character, and the number of characters that count."""
        logits, _ = self.forward(batch.inputs, state)
        nats = -np.take_along_axis(logits, batch.targets[..., None], axis=2)[..., 0]
        characters = int(np.count_nonzero(batch.weights))
        return float((nats * batch.weights).sum(dtype=np.float64)) / max(characters, 1), characters

    def _held_out_loss(self, dataset: Dataset) -> float:
        assert dataset.held_out is not None
        total = _Epoch(Position())
        for batch in dataset.held_out.batches(epoch=0):
            state = self._state_before(batch, total.state if dataset.carries_state else None)
            total.add(*self._loss(batch, state), State({"before": batch.inputs[:, -1] + 1}))
        return total.loss

    def _checkpoint(self, epoch: _Epoch) -> Checkpoint:
        tensors = {"counts": self._counts.copy()} | ({} if epoch.state is None else dict(epoch.state))
        return Checkpoint(epoch.at, tensors, {"nats": epoch.nats, "characters": epoch.characters})

    def _restore(self, checkpoint: Checkpoint) -> _Epoch:
        tensors = dict(checkpoint.tensors)
        self.load_weights({name: tensors.pop(name) for name in ("counts",) if name in tensors})
        state = State(tensors) if tensors else None
        if state is not None:
            self.forward(np.zeros((state.batch, 0), np.int32), state)  # checks it
        nats, characters = checkpoint.numbers.get("nats"), checkpoint.numbers.get("characters")
        if not isinstance(nats, float | int) or type(characters) is not int or characters < 0:
            raise ArtifactError("the checkpoint has no nats and characters")
        return _Epoch(checkpoint.position, state, nats, characters)


@dataclass
class _Epoch:
    """The current epoch: its position, the state after its last batch, and its loss so far."""

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


@hookimpl
def textgen_register_models(register: Register) -> None:
    """Register the model."""
    register("counting", "textgen.testing.counting:CountingModel", "Counts which id follows two others.")


@hookimpl
def textgen_register_runtimes(register: Register) -> None:
    """Register its runtime."""
    register("counting", "textgen:ModelRuntime", "Runs a model by its own forward pass.")
