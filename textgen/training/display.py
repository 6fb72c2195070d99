"""How a training run shows itself: a live bar on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textgen.base.files import quoted
from textgen.model.model import Position
from textgen.training.tensorboard import EventLog

if TYPE_CHECKING:
    from textgen.runs.artifact import Artifact
    from textgen.training.plan import Plan
    from textgen.training.run import Display

#: Seconds between two plain lines inside an epoch.
LINE_EVERY = 15.0

#: Batches between two points that TensorBoard shows.
EVENTS_EVERY = 10


@contextmanager
def make_display(*, tensorboard: bool = False) -> Iterator[Display]:
    """The display that suits stderr; a bar is taken away however training ends.

    Args:
        tensorboard: whether the figures go to files for TensorBoard, too, in the run's folder.
    """
    with ExitStack() as at_exit:
        display = BarDisplay(at_exit) if sys.stderr.isatty() else LineDisplay()
        yield TensorBoardDisplay(display) if tensorboard else display


@contextmanager
def show_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Shows work of several parts on stderr: takes the name of the one under way, how much is done, and of how much.

    On a terminal a bar, which is taken away in the end; elsewhere a line every :data:`LINE_EVERY` seconds.
    """
    if not sys.stderr.isatty():
        said = time.monotonic()

        def tell(what: str, done: int, total: int) -> None:
            nonlocal said
            if time.monotonic() - said >= LINE_EVERY:
                said = time.monotonic()
                say(f"{what}: {done:,} of {total:,}")

        yield tell
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def say(text: str) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr, flush=True)


class LineDisplay:
    """One line an epoch, and one every :data:`LINE_EVERY` seconds."""

    def started(self, plan: Plan, folder: Path, position: Position) -> None:
        """Say what is trained on what."""
        self._steps = plan.dataset.train.steps
        self._epochs = plan.training.epochs
        self._last = min(self._epochs * self._steps, plan.training.max_steps or math.inf)
        self._begun: tuple[int, float] | None = None
        self._said = time.monotonic()
        corpus, model = plan.settings["corpus"]["name"], plan.settings["model"]["name"]
        documents = f"{plan.documents:,} documents, " if plan.corpus.layout == "documents" else ""
        say(
            f"{model} with {plan.model.parameter_count:,} parameters on {corpus}: {documents}"
            f"{plan.characters:,} characters, vocabulary {plan.tokenizer.vocab_size}"
        )
        going_on = f", going on after batch {position.total}" if position.total else ""
        say(f"{self._epochs} epochs of {self._steps} batches, into {folder}{going_on}")

    def batch(self, position: Position, loss: float, characters_per_second: float, learning_rate: float | None) -> None:
        """Say a line now and then."""
        figures = self._figures(position, loss, characters_per_second, learning_rate)
        if time.monotonic() - self._said >= LINE_EVERY:
            self._said = time.monotonic()
            say(f"epoch {position.epoch + 1}/{self._epochs}, batch {position.step}/{self._steps}: {figures}")

    def _figures(
        self, position: Position, loss: float, characters_per_second: float, learning_rate: float | None
    ) -> str:
        figures = [f"loss {loss:.3f}", f"{characters_per_second:,.0f} characters/s"]
        if learning_rate is not None:
            figures.insert(1, f"learning rate {learning_rate:.2g}")
        if self._begun is None:  # the first batch has to wait for graphs to be made
            self._begun = position.total, time.monotonic()
        before, begun = self._begun
        if position.total > before:
            seconds = (time.monotonic() - begun) / (position.total - before) * (self._last - position.total)
            figures.append(f"{timedelta(seconds=round(seconds))} left")
        return ", ".join(figures)

    def epoch(self, record: Mapping[str, float], sample: str | None) -> None:
        """Say the epoch's losses, and what the model writes by now."""
        self._said = time.monotonic()
        rate = f", learning rate {record['learning_rate']:.2g}" if "learning_rate" in record else ""
        say(f"epoch {record['epoch']}/{self._epochs}: {describe_losses(record)}{rate}")
        if sample is not None:
            say(indent(sample))

    def ended(self, artifact: Artifact) -> None:
        """Say where the run is, and what to do next."""
        manifest = artifact.manifest
        if manifest.status == "interrupted":
            say(f"stopped; everything is saved. Go on with: textgen train --resume {quoted(artifact.path)}")
        else:
            say(f"done: {describe_losses(manifest.metrics)}. Write text with: textgen sample {quoted(artifact.path)}")


class BarDisplay(LineDisplay):
    """A progress bar an epoch, above it what :class:`LineDisplay` says of each.

    Args:
        at_exit: takes the bar away.
    """

    def __init__(self, at_exit: ExitStack) -> None:
        self._at_exit = at_exit

    def started(self, plan: Plan, folder: Path, position: Position) -> None:
        """Say what is trained, and show the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        super().started(plan, folder, position)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task: Any = self._progress.add_task(
            "getting ready", total=self._steps, completed=position.step, figures=""
        )
        self._at_exit.enter_context(self._progress)

    def batch(self, position: Position, loss: float, characters_per_second: float, learning_rate: float | None) -> None:
        """Move the bar."""
        if position.step == 1:
            self._progress.reset(self._task)
        self._progress.update(
            self._task,
            completed=position.step,
            description=f"epoch {position.epoch + 1}/{self._epochs}",
            figures=self._figures(position, loss, characters_per_second, learning_rate),
        )

    def ended(self, artifact: Artifact) -> None:
        """Take the bar away, and say where the run is."""
        self._at_exit.close()
        super().ended(artifact)


class TensorBoardDisplay:
    """Writes the figures where TensorBoard reads them: ``tensorboard/`` in the run's folder.

    Args:
        display: is shown everything, too.
    """

    def __init__(self, display: Display) -> None:
        self._display = display
        self._log: EventLog | None = None

    def started(self, plan: Plan, folder: Path, position: Position) -> None:
        """Note the folder, which the run makes when it knows that it can train."""
        self._folder = folder / "tensorboard"
        self._display.started(plan, folder, position)

    def batch(self, position: Position, loss: float, characters_per_second: float, learning_rate: float | None) -> None:
        """Write every :data:`EVENTS_EVERY` batches."""
        self._display.batch(position, loss, characters_per_second, learning_rate)
        if position.total % EVENTS_EVERY == 0:
            figures = {"loss": loss, "characters_per_second": characters_per_second, "learning_rate": learning_rate}
            self._write(position.total, {f"batch/{name}": v for name, v in figures.items() if v is not None})

    def epoch(self, record: Mapping[str, float], sample: str | None) -> None:
        """Write the epoch's figures."""
        self._display.epoch(record, sample)
        figures = {f"epoch/{name}": value for name, value in record.items() if name not in ("epoch", "step")}
        self._write(int(record["step"]), figures)

    def _write(self, step: int, figures: Mapping[str, float]) -> None:
        if self._log is None:
            self._log = EventLog(self._folder)
        self._log.write(step, figures)

    def ended(self, artifact: Artifact) -> None:
        """Close the file."""
        if self._log is not None:
            self._log.close()
        self._display.ended(artifact)


def describe_losses(record: Mapping[str, float]) -> str:
    """The losses of a line of the history, in nats and bits a character."""
    parts = [
        f"{label} {record[f'{name}loss']:.3f} nats ({record[f'{name}bits']:.3f} bits) a character"
        for name, label in (("", "loss"), ("held_out_", "held out"))
        if f"{name}loss" in record
    ]
    if record.get("characters_per_second"):
        parts.append(f"{record['characters_per_second']:,.0f} characters/s")
    return ", ".join(parts)


def indent(text: str) -> str:
    """Text set off from the lines around it."""
    return "\n".join(f"    {line}" for line in text.splitlines())
