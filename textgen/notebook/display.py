"""The display of training in a notebook: one output that is updated in place."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

from textgen.base import html, values
from textgen.model.fitting import Position
from textgen.notebook.chart import curves
from textgen.notebook.losses import Losses
from textgen.runs.artifact import Artifact
from textgen.runs.quality import describe_losses
from textgen.training.display import Display, Schedule
from textgen.training.plan import Plan
from textgen.training.yardstick import YARDSTICK

#: Seconds between two updates: one in a hundred of those that the training has taken, within these bounds.
LEAST_SECONDS, MOST_SECONDS = 1.0, 10.0

#: Characters of the sample that is shown.
SAMPLE = 1000


def is_notebook() -> bool:
    """Whether this is the kernel of a notebook, such as Jupyter's or Colab's. IPython is not imported for that."""
    interactive = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive is not None else None
    return getattr(shell, "kernel", None) is not None


@contextmanager
def shown(display: Display | Literal["auto"] | None) -> Iterator[Display]:
    """Yields the display of a training: of ``"auto"`` a :class:`NotebookDisplay` in a notebook, otherwise nothing.

    Raises:
        OptionError: if it is something else.
    """
    if display is None or (display == "auto" and not is_notebook()):
        yield Display()
        return
    chosen = NotebookDisplay() if display == "auto" else values.instance(display, "display", Display)
    with chosen if isinstance(chosen, NotebookDisplay) else nullcontext():
        yield chosen


class NotebookDisplay(Display):
    """Shows a run in one output of a notebook: how far it is, its losses as curves, the time left, the latest sample.

    The output is replaced as a whole, so that it is whole in the file that is saved. Around the training, the display
    is entered as a context, so that it also shows what an error ended.
    """

    def __init__(self) -> None:
        self._handle: Any = None
        self._about: list[str] = []
        self._state: list[str] = ["getting ready"]
        self._position = Position()
        self._losses = Losses()
        self._held_out: list[tuple[float, float]] = []
        self._epoch = ""
        self._sample: tuple[float, str] | None = None
        self._has_ended = False

    def __enter__(self) -> NotebookDisplay:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None and self._handle is not None and not self._has_ended:
            self._state = [f"ended by {kind.__name__}, {self._schedule.place(self._position)}"]
            self._update()

    def started(self, plan: Plan, folder: Path, position: Position) -> None:
        from IPython.display import display

        self._schedule, self._position = Schedule(plan), position
        self._about = list(self._schedule.describe_start(plan, folder, position))
        self._began = self._updated = time.monotonic()
        self._handle = display(self, display_id=True)

    def batch(self, position: Position, loss: float, characters_per_second: float, learning_rate: float | None) -> None:
        figures = self._schedule.figures(position, loss, characters_per_second, learning_rate)
        self._state, self._position = [", ".join([self._schedule.place(position), *figures])], position
        self._losses.add(position.total, loss)
        now = time.monotonic()
        if now - self._updated >= min(max(LEAST_SECONDS, (now - self._began) / 100), MOST_SECONDS):
            self._update()

    def epoch(self, record: Mapping[str, float], sample: str | None) -> None:
        self._epoch = f"epoch {record['epoch']}/{self._schedule.epochs}: {describe_losses(record)}"
        if "held_out_loss" in record:
            self._held_out.append((record["step"], record["held_out_loss"]))
        if sample is not None:
            self._sample = record["epoch"], sample

    def ended(self, artifact: Artifact, *, lost_patience: bool) -> None:
        self._has_ended = True
        if artifact.manifest.status == "interrupted":
            self._state = [f"stopped, {self._schedule.place(self._position)}; everything is saved"]
        else:
            self._state = list(
                self._schedule.describe_end(
                    artifact.manifest,
                    lost_patience=lost_patience,
                    longer=_as_settings,
                    other=f'model="{YARDSTICK}"',
                )
            )
        self._update()

    def _update(self) -> None:
        self._updated = time.monotonic()
        self._handle.update(self)

    def __repr__(self) -> str:
        lines = [*self._about, *([self._epoch] if self._epoch else []), *self._state]
        if self._sample is not None:
            lines.append(f"sample after epoch {self._sample[0]}:\n{html.cut(self._sample[1], SAMPLE)}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        done = self._position.total / self._schedule.last
        chart = curves({"training": self._losses.points, "held out": self._held_out}, "batches", self._schedule.last)
        parts = [html.line(line, faint=True) for line in self._about]
        parts.append(f'<progress value="{done:.4f}" max="1" style="width:480px;max-width:100%"></progress>')
        parts += [html.line(line) for line in self._state]
        if chart:
            parts += [html.line("loss, nats per character", faint=True), chart]
        if self._epoch and not self._has_ended:
            parts.append(html.line(self._epoch))
        if self._sample is not None:
            parts.append(html.line(f"sample after epoch {self._sample[0]}", faint=True))
            parts.append(html.block(self._sample[1], SAMPLE))
        return html.box("", *parts)


def _as_settings(option: str, value: object) -> str:
    """How a Python program sets a training option."""
    return f'settings={{"training": {{"{option}": {value}}}}}'
