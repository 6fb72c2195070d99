"""The plot of a run, with matplotlib (the extra ``plots``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from textgen.base.figures import new_figure, save_figure

#: The panels, from top to bottom: the label of the axis, and the labels of its curves by their names in the history.
PANELS: dict[str, dict[str, str]] = {
    "loss (nats per character)": {"loss": "training", "held_out_loss": "held out"},
    "learning rate": {"learning_rate": "learning rate"},
    "characters per second": {"characters_per_second": "characters per second"},
}


def save_training_plot(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draws :data:`PANELS` over the batches, except those that a run has no figures for.

    Args:
        history: the lines of ``history.jsonl``.
        path: the PNG file to write.

    Raises:
        UnavailableError: if matplotlib is not installed.
    """
    panels = training_curves(history)
    figure = new_figure(7, 2 + 2 * len(panels))
    rows = figure.subplots(len(panels), sharex=True, squeeze=False, height_ratios=[2] + [1] * (len(panels) - 1))
    for axes, (label, curves) in zip(rows[:, 0], panels.items(), strict=True):
        for name, points in curves.items():
            axes.plot(*zip(*points, strict=True), marker=".", label=name)
        axes.set(ylabel=label)
        axes.grid(alpha=0.3)
        if len(curves) > 1:
            axes.legend()
    axes.set(xlabel="batches")
    save_figure(figure, path, follow=False)


def training_curves(history: Sequence[Mapping[str, float]]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Returns the points (batches done, value) of each curve that has any, by panel and label."""
    panels = {
        label: {
            curve: points
            for name, curve in curves.items()
            if (points := [(record["step"], record[name]) for record in history if name in record])
        }
        for label, curves in PANELS.items()
    }
    return {label: curves for label, curves in panels.items() if curves}
