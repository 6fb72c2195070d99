"""A small recurrent network in pure NumPy, with weights drawn from a seed, to test runtimes and exporters.

The module is also a plugin; the model and its runtime are called ``fixed-gru``.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from textgen import (
    Checkpoint,
    Dataset,
    Model,
    Position,
    RecurrentNetwork,
    Register,
    State,
    StateSpec,
    Tensors,
    TrainingRun,
    hookimpl,
    recurrent_state_spec,
)
from textgen.errors import ArtifactError
from textgen.options import Options


class FixedGRUOptions(Options):
    """Options of :class:`FixedGRU`."""

    units: int = Field(6, ge=1, le=4096, description="Width of the state.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of the weights.")


class FixedGRU(Model):
    """Embedding → GRU → dense logits that are far apart; :meth:`fit` reports to the run without changing weights.

    The cell is that of :class:`textgen.RecurrentLayer`, computed step by step.

    Example:
        >>> model = FixedGRU(FixedGRUOptions(units=4), vocab_size=3)
        >>> logits, state = model.forward(np.int32([[0, 1]]), model.state_spec.initial_state(batch=1))
        >>> logits.shape, state["0.h"].shape
        ((1, 2, 3), (1, 4))
    """

    Options = FixedGRUOptions
    native_runtime = "fixed-gru"

    options: FixedGRUOptions

    def __init__(self, options: FixedGRUOptions, vocab_size: int) -> None:
        super().__init__(options, vocab_size)
        self._loaded: RecurrentNetwork | None = None

    @cached_property
    def _drawn(self) -> RecurrentNetwork:
        """The network with the weights of the seed, drawn when they are needed."""
        units, columns, vocab_size = self.options.units, 3 * self.options.units, self.vocab_size
        rng = np.random.default_rng([self.options.seed, units, vocab_size])
        tensors = {
            "embedding": rng.normal(0, 1, (vocab_size, 3)),
            "layers.0.kernel": rng.normal(0, 1, (3, columns)),
            "layers.0.recurrent_kernel": rng.normal(0, 1.2 / math.sqrt(units), (units, columns)),
            "layers.0.bias": rng.normal(0, 0.3, (2, columns)),
            "head.kernel": rng.normal(0, 4 / math.sqrt(units), (units, vocab_size)),
            "head.bias": rng.normal(0, 0.5, vocab_size),
        }
        return RecurrentNetwork.from_tensors("gru", tensors)

    @property
    def _network(self) -> RecurrentNetwork:
        return self._loaded or self._drawn

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each weight."""
        units, columns, vocab_size = self.options.units, 3 * self.options.units, self.vocab_size
        return {
            "embedding": (vocab_size, 3),
            "layers.0.kernel": (3, columns),
            "layers.0.recurrent_kernel": (units, columns),
            "layers.0.bias": (2, columns),
            "head.kernel": (units, vocab_size),
            "head.bias": (vocab_size,),
        }

    @property
    def state_spec(self) -> StateSpec:
        return recurrent_state_spec("gru", [self.options.units])

    @property
    def parameter_count(self) -> int:
        return sum(map(math.prod, self._shapes.values()))

    def fit(self, dataset: Dataset, run: TrainingRun) -> None:
        loss = math.log(self.vocab_size)  # of a uniform prediction
        at = run.checkpoint.position if run.checkpoint else Position()
        while at.epoch < run.options.epochs and not run.should_stop:
            for batch in run.batches(at):
                at = Position(at.epoch, at.step + 1, at.total + 1)
                run.batch_ended(at, loss, int(np.count_nonzero(batch.weights)))
                if run.should_save:
                    run.save(Checkpoint(at, self.weights()))
            if at.step < dataset.train.steps:
                run.interrupted(Checkpoint(at, self.weights()))
                return
            at = Position(at.epoch + 1, 0, at.total)
            metrics = {"loss": loss} | ({"held_out_loss": loss} if dataset.held_out else {})
            run.epoch_ended(at, metrics, Checkpoint(at, self.weights()))

    def forward(
        self, ids: NDArray[np.int32], state: State, lengths: NDArray[np.int32] | None = None
    ) -> tuple[NDArray[np.float32], State]:
        self.state_spec.check(state)
        (layer,) = self._network.layers
        last = np.full(len(ids), ids.shape[1]) if lengths is None else lengths
        inputs, hidden = self._network.input_table()[ids], state["0.h"]
        logits = np.empty((*ids.shape, self.vocab_size), np.float32)
        for position in range(ids.shape[1]):
            update, reset, candidate = np.split(inputs[:, position], 3, axis=1)
            recurrent = np.split(hidden @ layer.recurrent_kernel + layer.bias[1], 3, axis=1)
            kept = _sigmoid(update + recurrent[0])
            new = np.tanh(candidate + _sigmoid(reset + recurrent[1]) * recurrent[2])
            after = kept * hidden + (1 - kept) * new
            hidden = np.where((position < last)[:, None], after, hidden)
            logits[:, position] = hidden @ self._network.head_kernel + self._network.head_bias
        return logits, State({"0.h": hidden})

    def weights(self) -> Tensors:
        return self._network.tensors()

    def load_weights(self, tensors: Tensors) -> None:
        self._loaded = self.describe(tensors)

    def grow_weights(self, tensors: Tensors, old_ids: NDArray[np.int32]) -> Tensors:
        return RecurrentNetwork.from_tensors("gru", tensors).with_ids(old_ids).tensors()

    def describe(self, weights: Tensors) -> RecurrentNetwork:
        shapes = {name: array.shape for name, array in weights.items()}
        if shapes != self._shapes:
            raise ArtifactError(f"the weights have the shapes {shapes}, but must have {self._shapes}")
        return RecurrentNetwork.from_tensors("gru", weights)


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-values)), np.float32)


@hookimpl
def textgen_register_models(register: Register) -> None:
    """Register the model."""
    register("fixed-gru", "textgen.testing.recurrent:FixedGRU", "Gated recurrent units with weights from a seed.")


@hookimpl
def textgen_register_runtimes(register: Register) -> None:
    """Register its runtime."""
    register("fixed-gru", "textgen:ModelRuntime", "Runs a model by its own forward pass.")
