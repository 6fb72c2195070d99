"""A training run at work: what the model reports becomes limits, history, progress, hooks and files."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self

from textgen.base.console import notice
from textgen.base.environment import is_strict
from textgen.errors import ArtifactError, PluginError, TextgenError
from textgen.files.writing import quoted
from textgen.generation.loop import finish, generate
from textgen.generation.request import DEFAULT_LENGTH, Request
from textgen.generation.runtime import ModelRuntime, Runtime
from textgen.model.fitting import Checkpoint, Position, Tensors
from textgen.plugins.checks import CheckedRuntime
from textgen.plugins.faults import describe, return_to, working_directory
from textgen.plugins.recorded import TRANSFORM
from textgen.plugins.registry import Registry
from textgen.runs.artifact import Artifact
from textgen.runs.checkpoint import read_checkpoint
from textgen.runs.history import History
from textgen.text.batches import Batch
from textgen.text.vocabulary import spans_lines
from textgen.training.display import Display
from textgen.training.plan import Plan
from textgen.training.recorder import Recorder
from textgen.training.yardstick import YARDSTICK, count_yardstick

#: The largest loss in nats per character, and the most seconds of an epoch (a thousand years), in a checkpoint.
MOST_LOSS, MOST_SECONDS = 1e9, 3e10


class Run:
    """The run that a model reports to; see :class:`textgen.model.fitting.TrainingRun`.

    Args:
        plan: the plan of what to train on what.
        artifact: the run's folder; it is resumed from its last checkpoint, if it has one.
        registry: the plugins whose hooks are called.
        display: shows progress.
        recorder: writes the run's files; ``None`` in a process that follows its cluster's chief. Such a process trains
            with the others, and keeps the best weights in memory. Hooks that only watch are not called there.
    """

    def __init__(
        self, plan: Plan, artifact: Artifact, registry: Registry, display: Display, recorder: Recorder | None = None
    ) -> None:
        self.plan = plan
        self.options = plan.training
        self.artifact = artifact
        self._characters_per_target = plan.dataset.characters_per_target
        found = read_checkpoint(artifact)
        self.checkpoint: Checkpoint | None = None
        self._epoch = EpochTotals()
        if found is not None:
            self.checkpoint, self._epoch = EpochTotals.taken_from(found)
            self._check(self._epoch)
        self._registry = registry
        self._display = display
        self._recorder = recorder
        self._history = History.read(artifact, self.checkpoint.position) if self.checkpoint else History()
        self._best_weights: Tensors | None = None
        self._opened = False
        self._working_directory = working_directory()
        self._unsaved: Checkpoint | None = None
        self._saved_at = time.monotonic()
        self._asked_to_stop = False
        self._is_saving = False
        self._patient_requests = 1
        self._clock = time.perf_counter()

    def _check(self, epoch: EpochTotals) -> None:
        """Check that this run can have come to a position, with such totals.

        Raises:
            ArtifactError: if it cannot.
        """
        at, steps = epoch.position, self.plan.dataset.train.steps
        if at.step > steps or at.total != at.epoch * steps + at.step:
            raise ArtifactError(
                f"the checkpoint to resume from is damaged: an epoch of this run has {steps:,} batches, and the "
                f"checkpoint is after {at.total:,} batches, of which {at.step:,} are in epoch {at.epoch + 1:,}"
            )
        characters = epoch.characters
        are_whole = characters == 0 or characters > self._characters_per_target / 2  # a hook may have left no target
        is_sane = -1e-6 * characters <= epoch.nats <= MOST_LOSS * characters  # but for rounding
        if not (are_whole and is_sane and 0 <= epoch.seconds <= MOST_SECONDS):
            raise ArtifactError(f"the checkpoint to resume from is damaged: {EpochTotals.KEY} has no valid totals")

    @property
    def should_stop(self) -> bool:
        return self._asked_to_stop or self._at_limit

    @property
    def is_complete(self) -> bool:
        """True if nothing is left to train after the checkpoint."""
        return self._at_limit or self._start.epoch >= self.options.last_epoch

    @property
    def has_lost_patience(self) -> bool:
        """True once ``patience`` epochs have passed without a lower loss."""
        return self.options.patience is not None and self.epochs_since_best >= self.options.patience

    @property
    def epochs_since_best(self) -> int:
        """The number of epochs since the lowest held-out loss (or training loss, without any).

        A run that ended inside an epoch has a record for it, which does not count.
        """
        losses: dict[float, float] = {}
        for record in self._history.records:
            losses.setdefault(record["epoch"], record.get("held_out_loss", record.get("loss", math.inf)))
        losses.pop(0, None)
        by_epoch = list(losses.values())
        return len(by_epoch) - 1 - by_epoch.index(min(by_epoch)) if by_epoch else 0

    @property
    def _start(self) -> Position:
        return self.checkpoint.position if self.checkpoint else Position()

    @property
    def _at_limit(self) -> bool:
        at = self._epoch.position  # that of the checkpoint, before the first batch
        limits = ((self.options.stop_after, at.epoch), (self.options.max_steps, at.total))
        return any(limit is not None and done >= limit for limit, done in limits) or self.has_lost_patience

    @property
    def _was_stopped(self) -> bool:
        return self._asked_to_stop and not self._at_limit

    def begin(self) -> None:
        """Shows what is about to be trained: a model may need a while for its first batch."""
        self._display.started(self.plan, self.artifact.path, self._start)
        self._notify("textgen_run_started", settings=self.plan.settings, position=self._start)

    def end(self, status: Literal["finished", "interrupted", "failed"]) -> None:
        """Tells the plugins that the run has ended, and the user what failed in them."""
        metrics = self.artifact.manifest.metrics
        self._notify("textgen_run_ended", settings=self.plan.settings, status=status, metrics=metrics)
        self._registry.life_cycle.report_failures()

    def ask_to_stop(self) -> None:
        self._asked_to_stop = True

    def interrupt(self) -> None:
        """Asks to stop; if that was done before, stops at once.

        While an epoch is sampled and saved, a second request is ignored, so that nothing of it is lost; a third is not.

        Raises:
            KeyboardInterrupt: to stop at once.
        """
        if self._asked_to_stop and (self._patient_requests == 0 or not self._is_saving):
            raise KeyboardInterrupt
        if self._asked_to_stop:
            self._patient_requests -= 1
        self._asked_to_stop = True

    @property
    def should_save(self) -> bool:
        step, minutes = self._epoch.position.step, self.options.checkpoint_minutes
        is_within = 0 < step < self.plan.dataset.train.steps and self._epoch.position != self._start
        is_due = minutes > 0 and time.monotonic() - self._saved_at >= 60 * minutes
        return self._recorder is not None and is_within and is_due and not self.should_stop

    def batches(self, position: Position) -> Iterator[Batch]:
        self._open()
        hooked = bool(self._registry.life_cycle.implementers(TRANSFORM))
        self._clock = time.perf_counter()
        for step, batch in enumerate(self.plan.dataset.train.batches(position.epoch, position.step)):
            if self.should_stop:
                return
            here = Position(position.epoch, position.step + step, position.total + step)
            yield self._transformed(batch, here) if hooked else batch

    def _transformed(self, batch: Batch, position: Position) -> Batch:
        """A batch as plugins have changed it."""
        changed: Batch = self._registry.life_cycle.transform(
            TRANSFORM,
            check=lambda changed: changed.fault(self.plan.tokenizer.vocab_size),
            options=self.plan.plugin_options,
            batch=batch,
            position=position,
            folder=self.artifact.path,
        )
        return changed

    def _open(self) -> None:
        """Begins to write, once the model is known to be able to train."""
        return_to(self._working_directory)
        if not self._opened:
            self._opened = True
            if self._recorder is not None:
                self._recorder.open(self._start)

    def batch_ended(self, position: Position, loss: float, targets: int, learning_rate: float | None = None) -> None:
        loss /= self._characters_per_target
        characters = targets * self._characters_per_target
        self._end_if_not_finite(position, {"loss": loss})
        now = time.perf_counter()
        seconds, self._clock = now - self._clock, now
        self._epoch.add(position, loss, characters, seconds)
        self._display.batch(position, loss, characters / seconds, learning_rate)
        self._notify("textgen_batch_ended", position=position, loss=loss)

    def epoch_ended(self, position: Position, metrics: Mapping[str, float], checkpoint: Checkpoint) -> None:
        return_to(self._working_directory)  # a model or a callback may have left it
        self._end_if_not_finite(position, {name: value for name, value in metrics.items() if name.endswith("loss")})
        record = self._record(position, self._per_character(metrics))
        self._history.records.append(record)
        self._unsaved = checkpoint
        self._is_saving = True
        sample = None
        try:
            if self._recorder and self.options.sample_every and position.epoch % self.options.sample_every == 0:
                sample = self._sample()
                self._recorder.add_sample(position, record["loss"], sample)
        finally:  # an epoch is saved even if its sample fails
            held_out = record.get("held_out_loss")
            is_best = held_out is not None and held_out < self._best_loss
            is_due = position.epoch % self.options.checkpoint_every == 0 or position.epoch == self.options.last_epoch
            if is_due or is_best:
                self._save(checkpoint, record, best=is_best or held_out is None)
            elif self._recorder is not None:
                self._recorder.save_logs(self._history)
        self._is_saving = False
        self._epoch = EpochTotals(position)
        self._display.epoch(record, sample)
        self._notify("textgen_epoch_ended", position=position, metrics=record)

    def interrupted(self, checkpoint: Checkpoint, held_out_loss: float | None = None) -> None:
        return_to(self._working_directory)  # a model or a callback may have left it
        if held_out_loss is not None:
            self._end_if_not_finite(checkpoint.position, {"held_out_loss": held_out_loss})
        self.save(checkpoint, held_out_loss)

    def save(self, checkpoint: Checkpoint, held_out_loss: float | None = None) -> None:
        """Saves a checkpoint within an epoch; the record of that is part of the history only if the run ends there."""
        losses = {"loss": self._epoch.loss} if self._epoch.characters else {}
        if held_out_loss is not None:
            losses |= self._per_character({"held_out_loss": held_out_loss})
            held_out_loss = losses["held_out_loss"]
        record = self._record(checkpoint.position, losses)
        if self._at_limit:
            self._history.records.append(record)
        is_best = math.isinf(self._best_loss) if held_out_loss is None else held_out_loss < self._best_loss
        self._save(self._epoch.added_to(checkpoint), record, best=is_best)

    def _end_if_not_finite(self, position: Position, losses: Mapping[str, float]) -> None:
        """Ends a run whose weights have become useless. What was saved before stays; a folder without any is emptied.

        Raises:
            TextgenError: if a loss is not finite; says what is left.
        """
        for name, loss in losses.items():
            if math.isfinite(loss):
                continue
            problem = f"the {name.replace('_', '-', 1).replace('_', ' ')} is {loss} after batch {position.total}"
            has_rate = "learning_rate" in type(self.options).resumable
            saved = self.artifact.manifest.last_checkpoint
            if saved is None:
                if self._recorder is not None:
                    self._recorder.discard()
                advice = "; lower training.learning_rate" if has_rate else ""
                raise TextgenError(f"{problem}, and nothing was saved before{advice}")
            how, rate = ("with a lower rate", " --set training.learning_rate=NUMBER") if has_rate else ("with", "")
            raise TextgenError(
                f"{problem}; {saved} is kept; resume from there {how}: "
                f"textgen train --resume {quoted(self.artifact.path)}{rate}"
            )

    @property
    def _best_loss(self) -> float:
        """The lowest held-out loss so far; infinite before the first."""
        return self.artifact.manifest.metrics.get("held_out_loss", math.inf)

    def _per_character(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Metrics of a model, their losses per target made losses per character; tokens of several keep both."""
        dataset, found = self.plan.dataset, dict(metrics)
        for name, characters in (
            ("loss", dataset.characters_per_target),
            ("held_out_loss", dataset.held_out_characters_per_target),
        ):
            if name in metrics and dataset.has_long_tokens:
                found |= {name: metrics[name] / characters, f"{name}_per_token": metrics[name]}
        return found

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
        if best:
            self.artifact.manifest.metrics = dict(record)
        self._unsaved = None
        self._saved_at = time.monotonic()
        if self._recorder is not None:
            path = self._recorder.save(checkpoint, self._history, best=best)
            self._notify("textgen_checkpoint_saved", position=checkpoint.position, path=path)
        elif best:
            self._best_weights = self.plan.model.weights()

    def _notify(self, hook: str, **arguments: object) -> None:
        if self._recorder is not None:
            options, folder = self.plan.plugin_options, self.artifact.path
            self._registry.life_cycle.notify(hook, options=options, folder=folder, **arguments)

    def _sample(self) -> str:
        """Samples the model as it is now, with the run's own prompt, sampler and seed."""
        generation = self.plan.generation
        chain = self._registry.chain(generation.sampler)
        count = 1 if self.plan.text.layout == "stream" else 5
        request = Request(
            prompts=(generation.prompt,) * count,
            length=generation.length or DEFAULT_LENGTH,
            chains=(chain,) * count,
            seed=self.options.seed,
            stop=generation.stop,
        )
        runtime: Runtime = ModelRuntime(self.plan.model)
        if owner := self._registry.outsider("model", self.plan.model_name):
            runtime = CheckedRuntime(runtime, owner)
        text, tokenizer = self.plan.text, self.plan.tokenizer
        pieces = generate(runtime, tokenizer, text.boundaries, request)
        many_lines = spans_lines(tokenizer, text.boundaries.end_id, request.prompts, multiline=text.facts.multiline)
        return ("\n\n" if many_lines else "\n").join(written.whole for written in finish(pieces))

    def finish(self) -> None:
        """Closes the run, or leaves it resumable if it was stopped."""
        self._open()  # a run may be stopped before its first batch
        if self._unsaved is not None:
            self._save(self._unsaved, self._history.records[-1], best=math.isinf(self._best_loss))
        if not self._was_stopped and self._recorder is not None and self.artifact.manifest.weights is None:
            raise PluginError(
                f"the model {self.plan.model_name!r} ended its training without reporting an epoch: "
                "report this to its author"
            )
        self.artifact.manifest.status = "interrupted" if self._was_stopped else "finished"
        if self._recorder is not None:
            self._recorder.finish(self._history)
            self._measure_yardstick()
        elif self._best_weights is not None:
            self.plan.model.load_weights(self._best_weights)
        is_early = self.has_lost_patience and self._epoch.position.epoch < self.options.last_epoch
        self._display.ended(self.artifact, lost_patience=is_early)

    def _measure_yardstick(self) -> None:
        """Puts the held-out loss of an n-gram beside that of a finished run, whose files are written by now."""
        metrics, plan = self.artifact.manifest.metrics, self.plan
        if self._was_stopped or "held_out_loss" not in metrics or plan.model_name == YARDSTICK:
            return
        vocab_size = plan.tokenizer.vocab_size
        try:
            found = count_yardstick(plan.dataset, vocab_size, self._registry, lambda: self._asked_to_stop)
        except Exception as error:
            if is_strict():
                raise
            notice(f"no n-gram was counted, beside which to judge this run: {describe(error)}")
            return
        if found is not None:
            metrics[f"{YARDSTICK}_held_out_loss"] = found[1]
            self.artifact.commit()


@dataclass
class EpochTotals:
    """The totals of the batches of an epoch so far."""

    #: The key of the totals in the numbers of a checkpoint within an epoch.
    KEY: ClassVar = "textgen.epoch"

    position: Position = field(default_factory=Position)
    nats: float = 0.0
    characters: float = 0.0
    seconds: float = 0.0

    def add(self, position: Position, loss: float, characters: float, seconds: float) -> None:
        """Adds a batch."""
        self.position = position
        self.nats += loss * characters
        self.characters += characters
        self.seconds += seconds

    def added_to(self, checkpoint: Checkpoint) -> Checkpoint:
        """Adds the totals to a checkpoint, so that the record of the epoch does not depend on an interruption."""
        totals = {"nats": self.nats, "characters": self.characters, "seconds": self.seconds}
        return replace(checkpoint, numbers={**checkpoint.numbers, self.KEY: totals})

    @classmethod
    def taken_from(cls, checkpoint: Checkpoint) -> tuple[Checkpoint, Self]:
        """The checkpoint as the model made it, and the totals that were added to it, if any.

        Raises:
            ArtifactError: if they are not finite numbers of these names.
        """
        numbers = dict(checkpoint.numbers)
        empty = {"nats": 0.0, "characters": 0.0, "seconds": 0.0}
        totals = numbers.pop(cls.KEY, empty)
        is_valid = isinstance(totals, dict) and totals.keys() == empty.keys()
        if not is_valid or not all(type(each) in (int, float) and math.isfinite(each) for each in totals.values()):
            raise ArtifactError(f"the checkpoint to resume from is damaged: {cls.KEY} has no valid totals")
        return replace(checkpoint, numbers=numbers), cls(checkpoint.position, **totals)

    @property
    def loss(self) -> float:
        """The mean loss in nats per character."""
        return self.nats / self.characters
