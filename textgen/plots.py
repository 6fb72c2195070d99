"""Plots of a run, with matplotlib (the extra ``plots``)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from textgen.errors import UnavailableError
from textgen.files import write_atomically


def save_training_plot(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Draw the losses over the epochs.

    Args:
        history: the lines of ``history.jsonl``.
        path: the PNG file to write.

    Raises:
        UnavailableError: where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UnavailableError('plots need matplotlib: pip install "textgen-rnn[plots]"') from None
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, label in (("loss", "training"), ("held_out_loss", "held out")):
        points = [(record["step"], record[name]) for record in history if name in record]
        if points:
            axes.plot(*zip(*points, strict=True), marker=".", label=label)
    axes.set(xlabel="batches", ylabel="loss (nats a character)")
    axes.grid(alpha=0.3)
    axes.legend()
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    write_atomically(path, image.getvalue())
