"""Figures, drawn with matplotlib (the extra ``plots``)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from textgen.base.files import write_atomically
from textgen.errors import UnavailableError


def new_figure(width: float, height: float) -> Any:
    """An empty ``matplotlib.figure.Figure`` of the given size in inches.

    Raises:
        UnavailableError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UnavailableError('plots need matplotlib: pip install "textgen-rnn[plots]"') from None
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure to a PNG file, completely or not at all.

    Raises:
        OSError: naming ``path``.
    """
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    write_atomically(path, image.getvalue())
