"""Displays of the progress of training: plain lines, a progress bar, or nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from textgen.base.console import LINE_EVERY, folded, progress_bar, say
from textgen.base.streams import messages
from textgen.files.writing import quoted
from textgen.model.fitting import Position
from textgen.runs.artifact import Artifact
from textgen.runs.manifest import Manifest
from textgen.runs.quality import describe_losses, describe_quality
from textgen.text.batches import PaddedDocuments
from textgen.text.labels import labels_of
from textgen.training.plan import Plan
from textgen.training.yardstick import YARDSTICK

#: The least width of the progress bar, which the figures beside it leave to it.
LEAST_BAR = 10

#: Nats per character by which the held-out loss of a model that is trained enough exceeds that of its own text.
OVERFITTING = 0.1

#: How the command line chooses the model that counts n-grams.
AS_ARGUMENT = f"--model {YARDSTICK}"

#: New tokens that are listed.
LISTED = 40


def _tell(text: str) -> None:
    """Prints a line that has no command in it, and may be broken."""
    say(folded(text, 4, messages()))


class Display:
    """Shows the progress of a run. This base class shows nothing; a subclass overrides what it shows."""

    def started(self, plan: Plan, folder: Path, position: Position) -> None:
        """Called before training starts, or resumes at a position; the first batch may take a while."""

    def batch(self, position: Position, loss: float, characters_per_second: float, learning_rate: float | None) -> None:
        """Called after a batch: its loss in nats per character, the speed since the last one, the step size if any."""

    def epoch(self, record: Mapping[str, float], sample: str | None) -> None:
        """Called after an epoch: its line of the history, and a sample of the model as it is now."""

    def ended(self, artifact: Artifact, *, lost_patience: bool) -> None:
        """Called when training is finished, perhaps early because of ``training.patience``, or was stopped."""


class Schedule:
    """How long a run is to train, how far it is, and how long that takes.

    Args:
        plan: of the run.

    Attributes:
        steps: batches per epoch.
        epochs: to train.
        last: the batch after which training ends, counted over all epochs.
    """

    def __init__(self, plan: Plan) -> None:
        options = plan.training
        self.steps = plan.dataset.train.steps
        self.epochs = options.last_epoch
        self.last = min(self.epochs * self.steps, options.max_steps or math.inf)
        self._is_cut = self.last < self.epochs * self.steps
        self._is_short = self.epochs < options.epochs
        self._patience = options.patience or 0
        self._begun: tuple[int, float] | None = None

    def describe_start(self, plan: Plan, folder: Path, position: Position) -> Iterator[str]:
        """Yields, in lines, what is trained on what, and into which folder.

        Args:
            plan: of the run. It is not kept, since a display may stay in a notebook for long.
            folder: of the run.
            position: from which it is trained.
        """
        text = plan.text.describe(
            splits_long=isinstance(plan.dataset.train, PaddedDocuments), has_long_tokens=plan.dataset.has_long_tokens
        )
        parameters = plan.model.parameter_count
        size = "" if parameters is None else f" with {parameters:,} parameters"
        yield f"{plan.model_name}{size} on {plan.text.corpus_name}: {text}, vocabulary {plan.tokenizer.vocab_size}"
        if plan.new_tokens:
            yield describe_new(plan.new_tokens)
        if plan.new_labels:
            yield describe_new(plan.new_labels, "label")
        if plan.base and plan.base.artifact.manifest.labels and not labels_of(plan.tokenizer):
            yield f"the labels of {plan.base.path} are dropped: the new text has none"
        resumed = f", resumed after batch {position.total}" if position.total else ""
        epochs = f"{self.epochs} epoch" + "s" * (self.epochs != 1)
        batches = "batch" if self.steps == 1 else "batches"
        limit = f", at most {plan.training.max_steps} in all" if self._is_cut else ""
        whole = f", with the step sizes of {plan.training.epochs}" if self._is_short else ""
        begins = f", from the weights of {plan.base.path}" if plan.base else ""
        again = f", {plan.refit.path} again on all text" if plan.refit else ""
        yield f"{epochs} of {self.steps} {batches}{whole}{limit}{begins}{again}, into {folder}{resumed}"

    def place(self, position: Position) -> str:
        """A position in words."""
        return f"epoch {position.epoch + 1}/{self.epochs}, batch {position.step}/{self.steps}"

    def figures(
        self, position: Position, loss: float, characters_per_second: float, learning_rate: float | None
    ) -> list[str]:
        """The figures of a batch: the loss, the step size, the speed, the time left; to be called after each batch."""
        figures = [f"loss {loss:.3f}", f"{characters_per_second:,.0f} characters/s"]
        if learning_rate is not None:
            figures.insert(1, f"learning rate {learning_rate:.2g}")
        if self._begun is None:  # the first batch waits for graphs to be compiled
            self._begun = position.total, time.monotonic()
        before, begun = self._begun
        if position.total > before:
            seconds = (time.monotonic() - begun) / (position.total - before) * (self.last - position.total)
            figures.append(f"{timedelta(seconds=round(seconds))} left")
        return figures

    def describe_end(
        self, manifest: Manifest, *, lost_patience: bool, longer: Callable[[str, object], str], other: str = AS_ARGUMENT
    ) -> Iterator[str]:
        """Yields, in lines, why a finished run ended before its last epoch, if it did, and how good it is.

        Args:
            manifest: of the run.
            lost_patience: whether it ended because of ``training.patience``.
            longer: how to set a training option, by name and value, to train longer.
            other: how to choose the model that counts n-grams.
        """
        option, value = ("stop_after" if self._is_short else "epochs"), 2 * self.epochs
        if self._is_cut:
            option, value = "max_steps", int(2 * self.last)
        if lost_patience:
            waited = f"{self._patience} epoch{'s' * (self._patience != 1)}"
            yield f"ended early: no lower loss for {waited} (training.patience)"
            option, value = "patience", 2 * self._patience
        if (ngram := describe_yardstick(manifest.metrics, longer(option, value), other)) is not None:
            yield ngram
        kept = manifest.metrics.get("epoch")
        epoch = "" if kept is None else f"epoch {kept:g} is kept, "
        yield f"done: {epoch}{describe_quality(manifest, speed=True)}"


def as_arguments(option: str, value: object) -> str:
    """How the command line sets a training option."""
    flags = {"epochs": "--epochs ", "max_steps": "--max-steps "}
    return f"{flags.get(option, f'--set training.{option}=')}{value}"


@contextmanager
def make_display() -> Iterator[Display]:
    """Yields the display that suits stderr: a bar on a terminal, lines elsewhere. The bar is removed at the end."""
    with ExitStack() as at_exit:
        yield BarDisplay(at_exit) if messages().isatty() else LineDisplay()


class LineDisplay(Display):
    """Prints one line per epoch, and one every :data:`LINE_EVERY` seconds."""

    def started(self, plan: Plan, folder: Path, position: Position) -> None:
        """Prints what is trained on what."""
        self._schedule = Schedule(plan)
        self._said = time.monotonic()
        for line in self._schedule.describe_start(plan, folder, position):
            _tell(line)

    def batch(self, position: Position, loss: float, characters_per_second: float, learning_rate: float | None) -> None:
        """Prints a line from time to time."""
        figures = self._schedule.figures(position, loss, characters_per_second, learning_rate)
        if time.monotonic() - self._said >= LINE_EVERY:
            self._said = time.monotonic()
            _tell(f"{self._schedule.place(position)}: {', '.join(figures)}")

    def epoch(self, record: Mapping[str, float], sample: str | None) -> None:
        """Prints the epoch's losses, and a sample."""
        self._said = time.monotonic()
        rate = f", learning rate {record['learning_rate']:.2g}" if "learning_rate" in record else ""
        _tell(f"epoch {record['epoch']}/{self._schedule.epochs}: {describe_losses(record)}{rate}")
        if sample is not None:
            say(indent(sample))

    def ended(self, artifact: Artifact, *, lost_patience: bool) -> None:
        """Prints why the run ended before its last epoch, if it did, the losses, and the next command."""
        manifest = artifact.manifest
        if manifest.status == "interrupted":
            say(f"stopped; everything is saved. Resume with: textgen train --resume {quoted(artifact.path)}")
        else:
            for line in self._schedule.describe_end(manifest, lost_patience=lost_patience, longer=as_arguments):
                _tell(line)
            say(f"Write text with: textgen sample {quoted(artifact.path)}")


class BarDisplay(LineDisplay):
    """Shows one progress bar per epoch, and above it the lines of :class:`LineDisplay`.

    Args:
        at_exit: removes the bar when it is closed.
    """

    def __init__(self, at_exit: ExitStack) -> None:
        self._at_exit = at_exit

    def started(self, plan: Plan, folder: Path, position: Position) -> None:
        """Prints what is trained, and shows the bar."""
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.table import Column

        super().started(plan, folder, position)
        bar = progress_bar(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=LEAST_BAR)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[figures]}", table_column=Column(no_wrap=True)),
            expand=True,
        )
        self._progress = self._at_exit.enter_context(bar)
        self._task: Any = self._progress.add_task(
            "getting ready", total=self._schedule.steps, completed=position.step, figures=""
        )

    def batch(self, position: Position, loss: float, characters_per_second: float, learning_rate: float | None) -> None:
        """Moves the bar."""
        if position.step == 1:
            self._progress.reset(self._task)
        self._progress.update(
            self._task,
            completed=position.step,
            description=(epoch := f"epoch {position.epoch + 1}/{self._schedule.epochs}"),
            figures=self._fitting(
                self._schedule.figures(position, loss, characters_per_second, learning_rate), len(epoch)
            ),
        )

    def _fitting(self, figures: Sequence[str], described: int) -> str:
        """The loss, and as many of the last figures as fit beside the bar, whose description has some characters."""
        batches = 2 * len(str(self._schedule.steps)) + 1
        room = self._progress.console.width - described - batches - LEAST_BAR - 3
        choices = [[*figures], *([figures[0], *figures[first:]] for first in range(2, len(figures) + 1))]
        return next((text for choice in choices if len(text := ", ".join(choice)) <= room), "")

    def ended(self, artifact: Artifact, *, lost_patience: bool) -> None:
        """Removes the bar, and prints what :class:`LineDisplay` does."""
        self._at_exit.close()
        super().ended(artifact, lost_patience=lost_patience)


def describe_new(tokens: Sequence[str], kind: str = "") -> str:
    """New tokens or labels, at least one, in a line.

    Args:
        tokens: their texts.
        kind: what they are, in the singular; by default characters or tokens.

    Example:
        >>> describe_new(["Å", " "])
        "2 new characters: Å ' '"
    """
    kind = kind or ("character" if all(len(token) == 1 for token in tokens) else "token")
    listed = " ".join(each if each.isprintable() and not each.isspace() else repr(each) for each in tokens[:LISTED])
    more = f" and {len(tokens) - LISTED:,} more" if len(tokens) > LISTED else ""
    return f"{len(tokens):,} new {kind}{'s' * (len(tokens) > 1)}: {listed}{more}"


def describe_yardstick(metrics: Mapping[str, float], longer: str, other: str = AS_ARGUMENT) -> str | None:
    """How an n-gram predicts the held-out text of a run, in a line; ``None`` if none was counted.

    Args:
        metrics: of the run.
        longer: the options that train it longer, the advice unless it knows its own text better than held-out text.
        other: the option that chooses the n-gram instead.
    """
    ngram, loss = metrics.get(f"{YARDSTICK}_held_out_loss"), metrics.get("held_out_loss")
    if ngram is None or loss is None:
        return None
    beside = f"an n-gram counted in the same text predicts held-out text with {ngram:.3f} nats per character"
    if ngram >= loss:
        return beside
    overfits = loss >= metrics.get("loss", loss) + OVERFITTING
    advice = "try more dropout" if overfits else f"train longer: {longer}"
    return f"{beside}, better than this model: {advice}, or {other}"


def indent(text: str) -> str:
    """Indents a text, to set it off from the lines around it."""
    return "\n".join(f"    {line}" for line in text.splitlines())
