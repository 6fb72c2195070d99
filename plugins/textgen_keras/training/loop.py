"""The gradient loop. Importing this module imports TensorFlow: see :func:`require_tensorflow`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from textgen import Batch, Checkpoint, Dataset, Position, TrainingRun
from textgen.errors import ArtifactError, OptionError, UnavailableError
from textgen_keras.mixture import Mixture
from textgen_keras.shapes import check_shapes
from textgen_keras.stateful_network import IDS, StatefulNetwork, as_graph
from textgen_keras.training.averaging import WeightAverage
from textgen_keras.training.callbacks import load_callbacks, make_callback_list
from textgen_keras.training.carried_state import CarriedState
from textgen_keras.training.freezing import frozen_names
from textgen_keras.training.noise import add_noise, draw_resets
from textgen_keras.training.optimizer import make_optimizer
from textgen_keras.training.options import GradientOptions
from textgen_keras.training.schedule import Plateau, rate_at
from textgen_keras.training.workers import Workers

#: The signature of a batch: inputs, targets and weights, as in :class:`textgen.Batch`.
_BATCH = (IDS, IDS, tf.TensorSpec([None, None], tf.float32))
#: The powers of network and n-gram in a checkpoint.
_POWERS = "powers"
#: The signature of a step's number in the run.
_STEP = tf.TensorSpec([], tf.int64)


class TrainingLoop:
    """Trains a network on the mean cross-entropy of the targets that count, in nats per character.

    Dropout, noise and resets are functions of the run's seed and of the step's number. So a resumed run ends, on a CPU
    with the same number of cores, with exactly the weights of an uninterrupted run.

    Args:
        network: is trained in place, from its present weights.
        dataset: the batches.
        run: receives the reports, and has the checkpoint to resume from.
        workers: the processes that train the network, each on its rows of every batch.
        mixture: the n-gram that the network is judged together with, if there is one.

    Raises:
        ArtifactError: if the checkpoint does not fit the network and the optimizer.
        OptionError: if a callback cannot be loaded, ``freeze`` names no weight or leaves none to train, ``state_reset``
            is set but no state is carried, or the workers do not train the same run.
        UnavailableError: within a ``tf.Graph``.
    """

    def __init__(
        self,
        network: StatefulNetwork,
        dataset: Dataset,
        run: TrainingRun,
        workers: Workers,
        mixture: Mixture | None = None,
    ) -> None:
        if not tf.executing_eagerly():
            raise UnavailableError(
                "training needs TensorFlow's eager mode: call it outside of tf.Graph and tf.function"
            )
        self._network, self._dataset, self._run, self._workers = network, dataset, run, workers
        assert isinstance(run.options, GradientOptions)
        self._options = options = run.options
        if options.state_reset and not dataset.carries_state:
            raise OptionError(
                "training.state_reset has no effect where each batch starts with the initial state: set it to 0, or "
                "training.carry_state=true"
            )
        self._optimizer = make_optimizer(options)
        self._variables = network.named_variables()
        workers.check_same(_describe(self._variables, dataset, run))
        workers.follow_chief(self._variables.values())
        frozen = frozen_names(self._variables, options.freeze)
        self._frozen = {name: self._variables[name] for name in frozen}
        self._trained = {name: variable for name, variable in self._variables.items() if name not in frozen}
        self._optimizer.build(list(self._trained.values()))
        self._average = WeightAverage(self._trained, options.average)
        network.compile(self._optimizer, jit_compile=False)
        network.stop_training = False
        callbacks = load_callbacks(options.callbacks)
        self._callbacks = make_callback_list(callbacks, network, options.epochs, dataset.train.steps)
        self._learn = as_graph(self._learning_step, _BATCH, network.state_signature, _STEP)
        self._judge = as_graph(self._judging_step, _BATCH, network.state_signature)
        self._predict = as_graph(self._predicting_step, IDS, network.state_signature)
        self._mixture = mixture
        self._position = Position()
        self._carried = CarriedState(network, dataset.carries_state, workers)
        self._loss = _MeanLoss()
        self._plateau = Plateau()
        self._save_is_due = False
        if run.checkpoint is not None:
            self._restore(run.checkpoint)

    def fit(self) -> None:
        """Train until all epochs are done, or the run or a callback asks to stop."""
        self._callbacks.on_train_begin()
        while self._position.epoch < self._run.options.epochs and not self._agree_to_stop():
            self._begin_epoch()
            self._train_epoch()
            if self._position.step < self._dataset.train.steps:
                with self._average.in_place():
                    self._run.interrupted(self._checkpoint(), self._loss_at_limit())
                break
            with self._average.in_place():
                self._end_epoch()
        self._average.put_in_place()
        self._callbacks.on_train_end()

    def _loss_at_limit(self) -> float | None:
        """The held-out loss if the run ends within an epoch because ``max_steps`` are done."""
        is_limit = self._position.total == self._run.options.max_steps
        return self._held_out_loss() if is_limit else None

    def _agree_to_stop(self) -> bool:
        """Returns whether any worker has to stop: then all stop, at the same batch. They also save at the same one."""
        flags = (self._run.should_stop, self._network.stop_training, self._run.should_save)
        asked, ended, self._save_is_due = self._workers.any(*map(bool, flags))
        if asked and not self._run.should_stop:
            self._run.ask_to_stop()
        self._network.stop_training = ended
        return asked or ended

    def _begin_epoch(self) -> None:
        rate = float(self._optimizer.learning_rate)
        self._callbacks.on_epoch_begin(self._position.epoch)
        if self._position.step:  # a resumed epoch: the callbacks have already changed the rate at its beginning
            self._optimizer.learning_rate = rate

    def _set_rate(self) -> None:
        """Set the scheduled rate; without a schedule, the rate is left to the callbacks."""
        options = self._options
        if options.schedule != "constant" or options.warmup_steps:
            steps = min(options.epochs * self._dataset.train.steps, options.max_steps or math.inf)
            self._optimizer.learning_rate = rate_at(options, self._position.total, int(steps), self._plateau.cuts)

    def _train_epoch(self) -> None:
        options, batches = self._options, self._run.batches(self._position)
        while True:
            batch = next(batches, None)
            if self._agree_to_stop() or batch is None:
                break
            if self._save_is_due:
                with self._average.in_place():
                    self._run.save(self._checkpoint())
            before = self._position
            self._callbacks.on_train_batch_begin(before.step)
            self._set_rate()
            rate = float(self._optimizer.learning_rate)
            drawn = {"seed": options.seed, "step": before.total}
            if options.noise:
                batch = add_noise(batch, options.noise, self._dataset.marks, **drawn)
            if options.state_reset:
                self._carried.reset(draw_resets(len(batch.inputs), options.state_reset, **drawn))
            loss, targets = self._read(self._learn, batch, self._carried, np.int64(before.total))
            self._loss.add(loss, targets)
            self._position = Position(before.epoch, before.step + 1, before.total + 1)
            self._callbacks.on_train_batch_end(before.step, {"loss": loss})
            self._run.batch_ended(self._position, loss, targets, rate)

    def _end_epoch(self) -> None:
        done = self._position.epoch
        metrics = {"loss": self._loss.mean}
        if (held_out := self._held_out_loss()) is not None:
            metrics["held_out_loss"] = held_out
        self._plateau.add(metrics.get("held_out_loss", metrics["loss"]))
        keras_names = {"loss": "loss", "held_out_loss": "val_loss"}
        rate = float(self._optimizer.learning_rate)
        self._callbacks.on_epoch_end(done, {keras_names[name]: value for name, value in metrics.items()})
        metrics["learning_rate"] = rate
        self._position = Position(done + 1, 0, self._position.total)
        self._carried.tensors = None
        self._loss = _MeanLoss()
        self._run.epoch_ended(self._position, metrics, self._checkpoint())

    def _held_out_loss(self) -> float | None:
        """The mean loss over the held-out text, with the n-gram if there is one; ``None`` without held-out text."""
        carried = CarriedState(self._network, self._dataset.carries_state, self._workers)
        batches = self._dataset.held_out.batches(epoch=0) if self._dataset.held_out else ()
        if self._mixture is not None:
            return self._mixture_loss(self._mixture, batches, carried)
        loss = _MeanLoss()
        for batch in batches:
            loss.add(*self._read(self._judge, batch, carried))
        return loss.mean if loss.targets else None

    def _mixture_loss(self, mixture: Mixture, batches: Iterable[Batch], carried: CarriedState) -> float | None:
        """The mean loss of network and n-gram together; fits the powers."""
        found, first = [], 0
        for batch in batches:
            rows = self._log_probabilities(batch, carried)
            found.append(rows[mixture.is_judged[first : first + len(rows)]])
            first += len(rows)
        if not first:
            return None
        # Each worker computes them; so that none decides otherwise than the others, all take the first one's.
        loss, *powers = self._workers.gather(np.array([[mixture.fit(found), *mixture.powers]]), 1)[0]
        mixture.powers = np.array(powers, np.float32)
        return float(loss)

    def _log_probabilities(self, batch: Batch, carried: CarriedState) -> NDArray[np.float32]:
        """Those of all ids for each target of a batch that counts, ``[targets, V]``."""
        state, counts = carried.before(batch), batch.weights > 0
        found, carried.tensors = self._predict(self._workers.share(batch.inputs), state, lengths=carried.lengths(batch))
        return self._workers.gather(found.numpy(), len(counts))[counts]

    def _read(self, step: Callable[..., Any], batch: Batch, carried: CarriedState, *extra: Any) -> tuple[float, int]:
        """Run a step on a batch; returns the mean loss and the number of targets. Without targets, nothing is run."""
        state = carried.before(batch)
        targets = int(np.count_nonzero(batch.weights))
        if not targets:
            return 0.0, 0
        arrays = tuple(self._workers.share(array) for array in (batch.inputs, batch.targets, batch.weights))
        loss, carried.tensors = step(arrays, state, *extra, lengths=carried.lengths(batch))
        return float(loss), targets

    def _learning_step(self, batch: Any, state: Any, step: Any, lengths: Any = None) -> tuple[Any, Any]:
        # Each worker draws the dropout of its own rows.
        seed = tf.stack([tf.constant(self._run.options.seed + (self._workers.index << 32), tf.int64), step])
        loss, gradients, after = self._workers.run(self._differentiate, batch, state, lengths, seed)
        self._optimizer.apply(gradients, list(self._trained.values()))
        self._average.update(step)
        return loss, after

    def _judging_step(self, batch: Any, state: Any, lengths: Any = None) -> tuple[Any, Any]:
        return self._workers.run(self._loss_and_state, batch, state, lengths)  # type: ignore[no-any-return]

    def _predicting_step(self, inputs: Any, state: Any, lengths: Any = None) -> tuple[Any, Any]:
        return self._workers.run(self._network.log_probabilities, inputs, state, lengths)  # type: ignore[no-any-return]

    def _differentiate(self, batch: Any, state: Any, lengths: Any, seed: Any) -> tuple[Any, Any, Any]:
        with tf.GradientTape() as tape:
            share, after = self._loss_share(batch, state, lengths, seed)
        # Dense: the global norm of an embedding's sparse gradient would be that of its parts, not of their sum.
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(share, [*self._trained.values()])]
        loss, gradients = self._workers.sum((share, gradients))
        return loss, gradients, after

    def _loss_and_state(self, batch: Any, state: Any, lengths: Any) -> tuple[Any, Any]:
        share, after = self._loss_share(batch, state, lengths, seed=None)
        return self._workers.sum(share), after

    def _loss_share(self, batch: Any, state: Any, lengths: Any, seed: Any) -> tuple[Any, Any]:
        """The part of the mean loss that is due to this worker's rows, and their state after the batch."""
        inputs, targets, weights = batch
        weights = weights / self._workers.sum(tf.reduce_sum(weights))
        return self._network.nats(inputs, targets, weights, state, lengths, seed)

    def _checkpoint(self) -> Checkpoint:
        weights = {name: variable.value.numpy() for name, variable in self._frozen.items()} | self._average.trained()
        tensors = {f"weights.{name}": array for name, array in weights.items()}
        tensors |= {name: variable.numpy() for name, variable in self._other_variables().items()}
        tensors |= {f"state.{i}": array for i, array in enumerate(self._carried.to_arrays())}
        if self._mixture is not None:
            tensors[_POWERS] = self._mixture.powers
        numbers = {
            "nats": self._loss.nats,
            "characters": self._loss.targets,  # the name that existing checkpoints have
            "progress": self._plateau.to_json(),
            "learning_rate": self._options.learning_rate,
        }
        return Checkpoint(self._position, tensors, numbers)

    def _other_variables(self) -> dict[str, Any]:
        """The variables of a checkpoint besides the weights."""
        averages = {f"average.{name}": variable for name, variable in self._average.values.items()}
        return averages | {f"optimizer.{i}": variable.value for i, variable in enumerate(self._optimizer.variables)}

    def _restore(self, checkpoint: Checkpoint) -> None:
        state = [name for name in checkpoint.tensors if name.startswith("state.")]
        saved = {name: array for name, array in checkpoint.tensors.items() if name not in state}
        if self._mixture is not None:
            self._mixture.take(saved.pop(_POWERS, None))
        weights = {f"weights.{name}": variable for name, variable in self._variables.items()}
        variables = weights | self._other_variables()
        check_shapes("the checkpoint's tensors", saved, {name: tuple(v.shape) for name, v in variables.items()})
        for name, variable in variables.items():
            try:
                variable.assign(saved[name])
            except (TypeError, ValueError):
                raise ArtifactError(f"the checkpoint's tensor {name} has the dtype {saved[name].dtype}") from None
        if state:
            self._carried.take([checkpoint.tensors.get(f"state.{i}") for i in range(len(state))])
        try:
            numbers = _Numbers.model_validate(checkpoint.numbers)
        except ValidationError:
            raise ArtifactError("the checkpoint's numbers are not those of this model") from None
        self._loss = _MeanLoss(numbers.nats, numbers.characters)
        self._plateau = Plateau.from_json(numbers.progress.model_dump())
        self._position = checkpoint.position
        # Without a schedule, the rate is a variable of the optimizer, and so part of the checkpoint. Callbacks may have
        # changed it: it stays as it is, unless the option was changed on resuming. Checkpoints of earlier versions do
        # not have the option; then the option decides, unless there are callbacks.
        if "learning_rate" in checkpoint.numbers:
            was_changed = checkpoint.numbers["learning_rate"] != self._options.learning_rate
        else:
            was_changed = not self._options.callbacks
        if was_changed:
            self._optimizer.learning_rate = self._options.learning_rate


class _Progress(BaseModel):
    """The numbers of :class:`Plateau` in a checkpoint."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    best: float | None
    since_best: int = Field(ge=0)
    cuts: int = Field(ge=0)


class _Numbers(BaseModel):
    """The numbers of a checkpoint."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    nats: float
    characters: int = Field(ge=0)
    progress: _Progress
    learning_rate: float | None = None


@dataclass
class _MeanLoss:
    """A mean over targets, accumulated batch by batch in double precision."""

    nats: float = 0.0
    targets: int = 0

    def add(self, mean: float, targets: int) -> None:
        self.nats += mean * targets
        self.targets += targets

    @property
    def mean(self) -> float:
        return self.nats / max(self.targets, 1)


def _describe(variables: Mapping[str, Any], dataset: Dataset, run: TrainingRun) -> str:
    """A description of a run, the same in all of its workers."""
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    options = run.options.model_dump_json(exclude={"device"})
    position = run.checkpoint.position if run.checkpoint else Position()
    return f"{shapes} {options} {position} {dataset.train.examples} {dataset.train.steps} {dataset.carries_state}"
