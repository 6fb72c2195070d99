"""A training run at work: what the model reports becomes progress, history, samples, hooks and checkpoints."""

from __future__ import annotations

import json
import math
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import safetensors.numpy

from textgen.base.console import notice
from textgen.errors import TextgenError, UnavailableError
from textgen.generation.loop import finish, generate
from textgen.generation.request import Request
from textgen.generation.runtime import ModelRuntime
from textgen.model.fitting import Checkpoint, Position
from textgen.plugins.recorded import TRANSFORM, record_plugins
from textgen.plugins.registry import Registry
from textgen.runs.artifact import Artifact
from textgen.runs.checkpoint import drop_old_checkpoints, read_checkpoint, save_checkpoint
from textgen.runs.folder import empty
from textgen.runs.history import History
from textgen.runs.manifest import SAMPLES, TOKENIZER, WEIGHTS, Manifest
from textgen.text.batches import Batch
from textgen.training.display import Display
from textgen.training.plan import Plan, provenance


class Run:
    """What a model reports to; see :class:`textgen.model.fitting.TrainingRun`.

    Args:
        plan: what to train on what.
        folder: the run's folder; nothing is written before the first batch is asked for.
        plugins: whose life-cycle hooks are called.
        display: shows progress.
        callbacks: Keras callbacks.
        artifact: the run to go on with; ``None`` for a new one.
        overwrite: whether what is in the folder of a new run goes before anything is written.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        plugins: Registry,
        display: Display,
        *,
        callbacks: Sequence[Any] = (),
        artifact: Artifact | None = None,
        overwrite: bool = False,
    ) -> None:
        self.plan = plan
        self.options = plan.training
        self.callbacks = callbacks
        self.checkpoint = read_checkpoint(artifact) if artifact else None
        self.artifact = artifact or Artifact(folder, make_manifest(plan, plugins))
        self._plugins = plugins
        self._display = display
        self._history = History.read(artifact, self._start) if artifact else History()
        self._samples = _read_samples(self.artifact, self._start) if artifact else ""
        self._overwrite = overwrite
        self._opened = False
        self._unsaved: Checkpoint | None = None
        self._asked_to_stop = False
        self._clock = time.perf_counter()
        self._epoch = EpochTotals()

    @property
    def _start(self) -> Position:
        return self.checkpoint.position if self.checkpoint else Position()

    @property
    def should_stop(self) -> bool:
        return self._asked_to_stop or self._at_limit

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to train from the checkpoint on."""
        return self._at_limit or self._start.epoch >= self.options.epochs

    @property
    def _at_limit(self) -> bool:
        return self.options.max_steps is not None and self._done >= self.options.max_steps

    @property
    def has_trained(self) -> bool:
        """Whether any batch was done since the run began or went on."""
        return self._done > self._start.total

    @property
    def was_stopped(self) -> bool:
        """Whether somebody asked the run to stop before its end."""
        return self._asked_to_stop and not self._at_limit

    @property
    def _done(self) -> int:
        return max(self._start.total, self._epoch.position.total)

    def begin(self) -> None:
        """Show what is about to be trained: a model may need a while for its first batch."""
        self._display.started(self.plan, self.artifact.path, self._start)

    def ask_to_stop(self) -> None:
        self._asked_to_stop = True

    def batches(self, position: Position) -> Iterator[Batch]:
        self._open()
        hooked = bool(self._plugins.implementers(TRANSFORM))
        self._clock = time.perf_counter()
        for step, batch in enumerate(self.plan.dataset.train.batches(position.epoch, position.step)):
            if self.should_stop:
                return
            here = Position(position.epoch, position.step + step, position.total + step)
            yield self._plugins.transform(TRANSFORM, batch=batch, position=here) if hooked else batch

    def _open(self) -> None:
        """Begin to write, once the model is known to be able to train."""
        if not self._opened:
            self._opened = True
            if self._overwrite:
                empty(self.artifact.path)
            self.artifact.manifest.status = "training"
            self.artifact.put(TOKENIZER, json.dumps(self.plan.tokenizer.to_json()) + "\n")
            self.artifact.commit()

    def batch_ended(self, position: Position, loss: float, characters: int, learning_rate: float | None = None) -> None:
        seconds = self._add(position, loss, characters)
        self._display.batch(position, loss, characters / seconds, learning_rate)
        self._plugins.notify("textgen_batch_ended", position=position, loss=loss)

    def _add(self, position: Position, loss: float, characters: int) -> float:
        """Take a batch into the epoch's totals, and say how many seconds it took."""
        if not math.isfinite(loss):
            raise TextgenError(
                f"the loss is {loss} after batch {position.total}: lower training.learning_rate; "
                f"what was saved is in {self.artifact.path}"
            )
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        self._epoch.add(position, loss, characters, seconds)
        return seconds

    def epoch_ended(self, position: Position, metrics: Mapping[str, float], checkpoint: Checkpoint) -> None:
        record = self._record(position, metrics)
        self._history.records.append(record)
        held_out = record.get("held_out_loss")
        best = held_out is not None and held_out < self._best
        due = position.epoch % self.options.checkpoint_every == 0 or position.epoch == self.options.epochs
        self._unsaved = checkpoint
        if due or best:
            self._save(checkpoint, record, best=best or held_out is None)
        sample = (
            self._sample() if self.options.sample_every and position.epoch % self.options.sample_every == 0 else None
        )
        if sample is not None:
            self._samples += f"--- epoch {position.epoch}, loss {record['loss']:.3f}\n{sample}\n"
        self._write_logs()
        self.artifact.commit()
        self._epoch = EpochTotals(position)
        self._display.epoch(record, sample)
        self._plugins.notify("textgen_epoch_ended", position=position, metrics=record, folder=self.artifact.path)

    def interrupted(self, checkpoint: Checkpoint, held_out_loss: float | None = None) -> None:
        losses = {"loss": self._epoch.loss} if self._epoch.characters else {}
        if held_out_loss is not None:
            losses["held_out_loss"] = held_out_loss
        record = self._record(checkpoint.position, losses)
        if self._at_limit:
            self._history.records.append(record)
        best = math.isinf(self._best) if held_out_loss is None else held_out_loss < self._best
        self._save(checkpoint, record, best=best)

    @property
    def _best(self) -> float:
        """The lowest held-out loss so far; infinite before the first."""
        return self.artifact.manifest.metrics.get("held_out_loss", math.inf)

    def _record(self, position: Position, metrics: Mapping[str, float]) -> dict[str, float]:
        bits = {
            name.replace("loss", "bits"): value / math.log(2)
            for name, value in metrics.items()
            if name.endswith("loss")
        }
        speed = self._epoch.characters / self._epoch.seconds if self._epoch.seconds else 0.0
        return {
            "epoch": position.epoch,
            "step": position.total,
            **metrics,
            **bits,
            "characters_per_second": round(speed, 1),
            "seconds": round(self._epoch.seconds, 3),
        }

    def _save(self, checkpoint: Checkpoint, record: Mapping[str, float], *, best: bool) -> None:
        path = save_checkpoint(self.artifact, self.plan.model.weights(), checkpoint)
        manifest = self.artifact.manifest
        if best:
            manifest.weights = manifest.last_checkpoint
            manifest.metrics = dict(record)
        self._write_logs()
        drop_old_checkpoints(self.artifact)
        self._unsaved = None
        self._plugins.notify("textgen_checkpoint_saved", position=checkpoint.position, path=path)

    def _write_logs(self) -> None:
        self._history.write(self.artifact)
        if self._samples:
            self.artifact.put(SAMPLES, self._samples)

    def _sample(self) -> str:
        """A text of the model as it is now, with the run's own prompt, sampler and seed."""
        generation = self.plan.generation
        chain = self._plugins.chain(generation.sampler)
        count = 1 if self.plan.corpus.layout == "stream" else 5
        request = Request(
            prompts=(generation.prompt or "",) * count,
            length=generation.length or 400,
            chains=(chain,) * count,
            seed=self.options.seed,
            stop=generation.stop,
        )
        pieces = generate(ModelRuntime(self.plan.model), self.plan.tokenizer, self.plan.ending, request)
        return "\n".join(written.whole for written in finish(pieces))

    def finish(self) -> None:
        """Close the run: the best weights get a file of their own, or the way to go on is left open."""
        self._open()  # a run may be stopped before its first batch
        if self._unsaved is not None:
            self._save(self._unsaved, self._history.records[-1], best=math.isinf(self._best))
        manifest = self.artifact.manifest
        manifest.status = "interrupted" if self.was_stopped else "finished"
        if not self.was_stopped and manifest.weights != WEIGHTS:
            self.artifact.put(WEIGHTS, safetensors.numpy.save(self.artifact.weights()))
            manifest.weights = WEIGHTS
        self._write_logs()  # a run that was killed may have left them ahead of their records
        if self._history.records:
            self._plot()
        drop_old_checkpoints(self.artifact)
        self._display.ended(self.artifact)

    def _plot(self) -> None:
        from textgen.training.plot import save_training_plot

        try:
            save_training_plot(self._history.records, self.artifact.path / "plots" / "training.png")
        except UnavailableError as error:
            notice(f"{error}; plots/training.png is left out")
        else:
            self.artifact.record("plots/training.png")

    @contextmanager
    def stopping_on_signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM ask the run to stop after its batch; a second Ctrl-C stops at once."""

        def ask(number: int, frame: FrameType | None) -> None:
            if self._asked_to_stop and number == signal.SIGINT:
                raise KeyboardInterrupt
            self._asked_to_stop = True

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


@dataclass
class EpochTotals:
    """What the batches of an epoch have come to so far."""

    position: Position = field(default_factory=Position)
    nats: float = 0.0
    characters: int = 0
    seconds: float = 0.0

    def add(self, position: Position, loss: float, characters: int, seconds: float) -> None:
        self.position = position
        self.nats += loss * characters
        self.characters += characters
        self.seconds += seconds

    @property
    def loss(self) -> float:
        return self.nats / self.characters


def make_manifest(plan: Plan, plugins: Registry) -> Manifest:
    """The manifest of a new run, before anything was trained."""
    manifest = Manifest(
        settings=plan.settings,
        provenance=provenance(plan),
        vocab_size=plan.tokenizer.vocab_size,
        state_spec=plan.model.state_spec.to_json(),
        end_id=plan.ending.end_id,
        starts=dict(plan.ending.starts),
    )
    record_plugins(manifest, plugins, plan.recipe)
    return manifest


def _read_samples(artifact: Artifact, until: Position) -> str:
    """The samples up to a position."""
    path = artifact.path / SAMPLES
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    lost = (m.start() for m in re.finditer(r"^--- epoch (\d+), ", text, re.MULTILINE) if int(m[1]) > until.epoch)
    return text[: next(lost, len(text))]
