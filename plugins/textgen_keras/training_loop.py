"""The gradient loop. Importing this module imports TensorFlow: see :func:`require_tensorflow`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from textgen.dataset import Batch, BatchPlan, Dataset
from textgen.model import Checkpoint, Position, TrainingRun
from textgen_keras.averaging import WeightAverage
from textgen_keras.optimization import load_callbacks, make_callback_list, make_optimizer
from textgen_keras.schedule import Progress, rate_at
from textgen_keras.stateful_network import IDS, StatefulNetwork, compiled
from textgen_keras.tensors import check_shapes

#: Inputs, targets and weights, as in :class:`textgen.dataset.Batch`.
_BATCH = (IDS, IDS, tf.TensorSpec([None, None], tf.float32))
_SEED = tf.TensorSpec([2], tf.int64)


class TrainingLoop:
    """Fits a network by the mean cross-entropy of the targets that count, in nats a character.

    Dropout is a function of the run's seed and of the number of batches done, so that a run that goes on from a
    checkpoint ends, on a CPU, with the very weights of a run that was not interrupted.

    Args:
        network: is changed in place, from the weights that it has.
        dataset: the batches.
        run: what to report to, and the checkpoint to go on from.

    Raises:
        ArtifactError: where the checkpoint is not one of this network and optimizer.
        OptionError: where a callback cannot be loaded.
    """

    def __init__(self, network: StatefulNetwork, dataset: Dataset, run: TrainingRun) -> None:
        self._network, self._dataset, self._run = network, dataset, run
        self._optimizer = make_optimizer(run.options)
        self._variables = network.named_variables()
        self._optimizer.build(list(self._variables.values()))
        self._average = WeightAverage(self._variables, run.options.average)
        network.compile(self._optimizer, jit_compile=False)
        network.stop_training = False
        callbacks = [*run.callbacks, *load_callbacks(run.options.callbacks)]
        self._callbacks = make_callback_list(callbacks, network, run.options.epochs, dataset.train.steps)
        self._learn = compiled(self._learning_step, _BATCH, network.state_signature, _SEED)
        self._judge = compiled(self._loss_and_state, _BATCH, network.state_signature)
        self._position = Position()
        self._carried = _CarriedState(network, dataset.carries_state)
        self._loss = _MeanLoss()
        self._progress = Progress()
        if run.checkpoint is not None:
            self._restore(run.checkpoint)

    def fit(self) -> None:
        """Train until the epochs are done, or the run or a callback asks to stop."""
        self._callbacks.on_train_begin()
        while self._position.epoch < self._run.options.epochs and not self._stopping:
            self._begin_epoch()
            self._train_epoch()
            if self._position.step < self._dataset.train.steps:
                with self._average.in_place():
                    self._run.interrupted(self._checkpoint())
                break
            with self._average.in_place():
                self._end_epoch()
        self._average.put_in_place()
        self._callbacks.on_train_end()

    @property
    def _stopping(self) -> bool:
        is_over = self._progress.is_over(self._run.options)
        return bool(self._run.should_stop or self._network.stop_training or is_over)

    def _begin_epoch(self) -> None:
        rate = float(self._optimizer.learning_rate)
        self._callbacks.on_epoch_begin(self._position.epoch)
        if self._position.step:  # The epoch began before the interruption: a schedule must not change the rate twice.
            self._optimizer.learning_rate = rate

    def _set_rate(self) -> None:
        """Follow the schedule; without one, the rate is the callbacks' to change."""
        options = self._run.options
        if options.schedule != "constant" or options.warmup_steps:
            steps = min(options.epochs * self._dataset.train.steps, options.max_steps or math.inf)
            self._optimizer.learning_rate = rate_at(options, self._position.total, int(steps), self._progress.cuts)

    def _train_epoch(self) -> None:
        for batch in self._run.batches(self._position):
            before = self._position
            self._callbacks.on_train_batch_begin(before.step)
            self._set_rate()
            seed = np.array([self._run.options.seed, before.total])
            loss, characters = self._read(self._learn, batch, self._carried, seed)
            self._loss.add(loss, characters)
            self._position = Position(before.epoch, before.step + 1, before.total + 1)
            self._callbacks.on_train_batch_end(before.step, {"loss": loss})
            self._run.batch_ended(self._position, loss, characters)
            if self._stopping:
                break

    def _end_epoch(self) -> None:
        done = self._position.epoch
        metrics = {"loss": self._loss.mean}
        if self._dataset.held_out is not None:
            held_out = self._held_out_loss(self._dataset.held_out)
            if held_out.characters:
                metrics["held_out_loss"] = held_out.mean
        self._progress.add(metrics.get("held_out_loss", metrics["loss"]))
        keras_names = {"loss": "loss", "held_out_loss": "val_loss"}
        rate = float(self._optimizer.learning_rate)
        self._callbacks.on_epoch_end(done, {keras_names[name]: value for name, value in metrics.items()})
        metrics["learning_rate"] = rate
        self._position = Position(done + 1, 0, self._position.total)
        self._carried.tensors = None
        self._loss = _MeanLoss()
        self._run.epoch_ended(self._position, metrics, self._checkpoint())

    def _held_out_loss(self, plan: BatchPlan) -> _MeanLoss:
        carried, loss = _CarriedState(self._network, self._dataset.carries_state), _MeanLoss()
        for batch in plan.batches(epoch=0):
            loss.add(*self._read(self._judge, batch, carried))
        return loss

    def _read(self, step: Callable[..., Any], batch: Batch, carried: _CarriedState, *extra: Any) -> tuple[float, int]:
        """Run a step on a batch: the mean loss, and the targets that counted; without any there is no step."""
        state = carried.before(batch)
        characters = int(np.count_nonzero(batch.weights))
        if not characters:
            return 0.0, 0
        arrays = (batch.inputs, batch.targets, batch.weights)
        loss, carried.tensors = step(arrays, state, *extra, lengths=carried.lengths(batch))
        return float(loss), characters

    def _learning_step(self, batch: Any, state: Any, seed: Any, lengths: Any = None) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            loss, after = self._loss_and_state(batch, state, lengths, seed)
        variables = list(self._variables.values())
        # Dense: the global norm of an embedding's sparse gradient would be that of its parts, not of their sum.
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, variables)]
        self._optimizer.apply(gradients, variables)
        self._average.update(seed[1])
        return loss, after

    def _loss_and_state(self, batch: Any, state: Any, lengths: Any = None, seed: Any = None) -> tuple[Any, Any]:
        inputs, targets, weights = batch
        logits, after = self._network.learn(inputs, state, lengths, seed)
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        return tf.reduce_sum(weights * nats) / tf.reduce_sum(weights), after

    def _checkpoint(self) -> Checkpoint:
        tensors = {f"weights.{name}": array for name, array in self._average.trained().items()}
        tensors |= {name: variable.numpy() for name, variable in self._other_variables().items()}
        if self._carried.tensors is not None:
            tensors |= {f"state.{i}": part.numpy() for i, part in enumerate(self._carried.tensors)}
        numbers = {"nats": self._loss.nats, "characters": self._loss.characters, "progress": self._progress.to_json()}
        return Checkpoint(self._position, tensors, numbers)

    def _other_variables(self) -> dict[str, Any]:
        """What training keeps besides the weights."""
        averages = {f"average.{name}": variable for name, variable in self._average.values.items()}
        return averages | {f"optimizer.{i}": variable.value for i, variable in enumerate(self._optimizer.variables)}

    def _restore(self, checkpoint: Checkpoint) -> None:
        state = [name for name in checkpoint.tensors if name.startswith("state.")]
        saved = {name: array for name, array in checkpoint.tensors.items() if name not in state}
        weights = {f"weights.{name}": variable for name, variable in self._variables.items()}
        variables = weights | self._other_variables()
        check_shapes("the checkpoint's tensors", saved, {name: tuple(v.shape) for name, v in variables.items()})
        for name, variable in variables.items():
            variable.assign(saved[name])
        if state:
            self._carried.tensors = [tf.constant(checkpoint.tensors[f"state.{i}"]) for i in range(len(state))]
        self._loss = _MeanLoss(checkpoint.numbers["nats"], checkpoint.numbers["characters"])
        self._progress = Progress.from_json(checkpoint.numbers["progress"])
        self._position = checkpoint.position


@dataclass
class _MeanLoss:
    """A mean over characters, gathered batch by batch in double precision."""

    nats: float = 0.0
    characters: int = 0

    def add(self, mean: float, characters: int) -> None:
        self.nats += mean * characters
        self.characters += characters

    @property
    def mean(self) -> float:
        return self.nats / max(self.characters, 1)


class _CarriedState:
    """The state that a batch starts with: the one that the batch before it left, or the initial one.

    Attributes:
        tensors: what the last batch left; ``None`` before the first one.
    """

    def __init__(self, network: StatefulNetwork, carries: bool) -> None:
        self._network, self._carries = network, carries
        self.tensors: list[Any] | None = None

    def before(self, batch: Batch) -> list[Any]:
        """The tensors ``[rows, ...]`` to start the batch with; a batch of other rows than the last starts anew."""
        rows = len(batch.inputs)
        if not self._carries or batch.resets_state or self.tensors is None or len(self.tensors[0]) != rows:
            self.tensors = self._network.initial_state(rows)
        return self.tensors

    def lengths(self, batch: Batch) -> NDArray[np.int32] | None:
        """Ids a row to read: a state that is not carried may read padding, and faster."""
        return batch.lengths() if self._carries else None
