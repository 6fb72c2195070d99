"""Figures, drawn with matplotlib (the extra ``plots``)."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textgen.base.environment import keep_in_cache
from textgen.errors import UnavailableError
from textgen.files.writing import write_atomically


def new_figure(width: float, height: float) -> Any:
    """An empty ``matplotlib.figure.Figure`` of the given size in inches.

    Raises:
        UnavailableError: if matplotlib is not installed, or finds no folder for its cache.
    """
    try:
        with _cached_somewhere():
            from matplotlib.figure import Figure
    except ImportError:
        raise UnavailableError('plots need matplotlib: pip install "textgen-rnn[plots]"') from None
    except OSError:
        raise UnavailableError("plots need a folder for matplotlib's cache: set MPLCONFIGDIR to one") from None
    return Figure(figsize=(width, height), layout="constrained")


@contextmanager
def _cached_somewhere() -> Iterator[None]:
    """A context to import matplotlib in: it would warn if it cannot write its cache where it would like to."""
    keep_in_cache("MPLCONFIGDIR", "matplotlib")
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def save_figure(figure: Any, path: Path, *, follow: bool = True) -> None:
    """Write a figure to a PNG file, completely or not at all; ``follow`` as for :func:`write_atomically`.

    Raises:
        OSError: naming ``path``.
    """
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120)
    write_atomically(path, image.getvalue(), follow=follow)
