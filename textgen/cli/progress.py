"""How a training run shows itself: a live bar on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textgen.model import Position

if TYPE_CHECKING:
    from textgen.artifact import Artifact
    from textgen.plan import Plan
    from textgen.run import Display

#: Seconds between two plain lines inside an epoch.
LINE_EVERY = 15.0


@contextmanager
def make_display() -> Iterator[Display]:
    """The display that suits stderr; a bar is taken away however training ends."""
    with ExitStack() as at_exit:
        yield BarDisplay(at_exit) if sys.stderr.isatty() else LineDisplay()


def say(text: str) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr, flush=True)


class LineDisplay:
    """One line an epoch, and one every :data:`LINE_EVERY` seconds."""

    def started(self, plan: Plan, folder: Path, position: Position) -> None:
        """Say what is trained on what."""
        self._steps = plan.dataset.train.steps
        self._epochs = plan.training.epochs
        self._said = time.monotonic()
        corpus, model = plan.settings["corpus"]["name"], plan.settings["model"]["name"]
        documents = f"{plan.documents:,} documents, " if plan.corpus.layout == "documents" else ""
        say(
            f"{model} with {plan.model.parameter_count:,} parameters on {corpus}: {documents}"
            f"{plan.characters:,} characters, vocabulary {plan.tokenizer.vocab_size}"
        )
        going_on = f", going on after batch {position.total}" if position.total else ""
        say(f"{self._epochs} epochs of {self._steps} batches, into {folder}{going_on}")

    def batch(self, position: Position, loss: float, characters_per_second: float) -> None:
        """Say a line now and then."""
        if time.monotonic() - self._said >= LINE_EVERY:
            self._said = time.monotonic()
            say(
                f"epoch {position.epoch + 1}/{self._epochs}, batch {position.step}/{self._steps}: loss {loss:.3f}, "
                f"{characters_per_second:,.0f} characters/s"
            )

    def epoch(self, record: Mapping[str, float], sample: str | None) -> None:
        """Say the epoch's losses, and what the model writes by now."""
        self._said = time.monotonic()
        say(f"epoch {record['epoch']}/{self._epochs}: {describe_losses(record)}")
        if sample is not None:
            say(indent(sample))

    def ended(self, artifact: Artifact) -> None:
        """Say where the run is, and what to do next."""
        manifest = artifact.manifest
        if manifest.status == "interrupted":
            say(f"stopped; everything is saved. Go on with: textgen train --resume {artifact.path}")
        else:
            say(f"done: {describe_losses(manifest.metrics)}. Write text with: textgen sample {artifact.path}")


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
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        super().started(plan, folder, position)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task: Any = self._progress.add_task("", total=self._steps, completed=position.step, figures="")
        self._at_exit.enter_context(self._progress)

    def batch(self, position: Position, loss: float, characters_per_second: float) -> None:
        """Move the bar."""
        if position.step == 1:
            self._progress.reset(self._task)
        self._progress.update(
            self._task,
            completed=position.step,
            description=f"epoch {position.epoch + 1}/{self._epochs}",
            figures=f"loss {loss:.3f}  {characters_per_second:,.0f} characters/s",
        )

    def ended(self, artifact: Artifact) -> None:
        """Take the bar away, and say where the run is."""
        self._at_exit.close()
        super().ended(artifact)


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
