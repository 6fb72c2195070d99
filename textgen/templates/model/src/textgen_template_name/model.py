"""The model ``template-name``."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from textgen import Batch, BatchPlan, Checkpoint, Dataset, Model, Position, State, StateSpec, Tensors, TrainingRun
from textgen.errors import ArtifactError
from textgen.options import Options


class TemplateNameOptions(Options):
    """Options of :class:`TemplateNameModel`."""

    smoothing: float = Field(0.1, gt=0, description="Added to every count, so that every id is possible.")


class TemplateNameModel(Model):
    """Counts how often one id follows another: P(b | a) = (n(ab) + s) / (n(a) + s * V). Logits are log-probabilities.

    Each epoch counts the text once more, which only reduces the effect of the smoothing.
    """

    Options = TemplateNameOptions
    native_runtime = "template-name"

    options: TemplateNameOptions

    def __init__(self, options: TemplateNameOptions, vocab_size: int) -> None:
        super().__init__(options, vocab_size)
        self._counts = np.zeros((vocab_size, vocab_size), np.float32)

    @property
    def state_spec(self) -> StateSpec:
        """Empty: a prediction depends on the current id alone."""
        return StateSpec(())

    @property
    def parameter_count(self) -> int:
        return self._counts.size

    def fit(self, dataset: Dataset, run: TrainingRun) -> None:
        at, nats, characters = Position(), 0.0, 0
        if run.checkpoint:
            self.load_weights(run.checkpoint.tensors)
            at, numbers = run.checkpoint.position, run.checkpoint.numbers
            nats, characters = numbers["nats"], numbers["characters"]
        while at.epoch < run.options.epochs and not run.should_stop:
            for batch in run.batches(at):
                loss, counted = self._loss(batch)
                np.add.at(self._counts, (batch.inputs, batch.targets), batch.weights)
                at = Position(at.epoch, at.step + 1, at.total + 1)
                nats, characters = nats + loss, characters + counted
                run.batch_ended(at, loss / max(counted, 1), counted)
                if run.should_save:
                    run.save(self._checkpoint(at, nats, characters))
            if at.step < dataset.train.steps:
                run.interrupted(self._checkpoint(at, nats, characters))
                return
            metrics = {"loss": nats / max(characters, 1)}
            if dataset.held_out is not None:
                metrics["held_out_loss"] = self._mean_loss(dataset.held_out)
            at, nats, characters = Position(at.epoch + 1, 0, at.total), 0.0, 0
            run.epoch_ended(at, metrics, self._checkpoint(at, nats, characters))

    def forward(
        self, ids: NDArray[np.int32], state: State, lengths: NDArray[np.int32] | None = None
    ) -> tuple[NDArray[np.float32], State]:
        counts = self._counts[ids] + np.float32(self.options.smoothing)
        return np.log(counts / counts.sum(axis=-1, keepdims=True)), state

    def weights(self) -> Tensors:
        return {"counts": self._counts.copy()}

    def load_weights(self, tensors: Tensors) -> None:
        shapes = {name: array.shape for name, array in tensors.items()}
        if shapes != {"counts": self._counts.shape}:
            raise ArtifactError(f"the weights have the shapes {shapes}, but counts must have {self._counts.shape}")
        self._counts = np.array(tensors["counts"], np.float32)

    def _checkpoint(self, at: Position, nats: float, characters: int) -> Checkpoint:
        return Checkpoint(at, self.weights(), {"nats": nats, "characters": characters})

    def _loss(self, batch: Batch) -> tuple[float, int]:
        """The loss of a batch in nats, and the number of targets that count."""
        logits, _ = self.forward(batch.inputs, State({}))
        nats = -np.take_along_axis(logits, batch.targets[..., None], axis=2)[..., 0]
        return float((nats * batch.weights).sum(dtype=np.float64)), int(np.count_nonzero(batch.weights))

    def _mean_loss(self, plan: BatchPlan) -> float:
        losses = [self._loss(batch) for batch in plan.batches(epoch=0)]
        return sum(nats for nats, _ in losses) / max(sum(counted for _, counted in losses), 1)
