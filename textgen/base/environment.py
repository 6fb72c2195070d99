"""The artifact: a run's folder, self-contained, without executable code, and whole at any moment.

``textgen.json`` describes the run and holds size and SHA-256 of every other file. A file that a reader relies on
(``tokenizer.json``, the weights) is never written over while ``textgen.json`` points to it: weights are written under a
new name first, then ``textgen.json`` is replaced in one step. A run killed at any moment leaves a folder that loads.
"""

from __future__ import annotations

import os
from pathlib import Path


def runs_folder() -> Path:
    """Where runs are kept: ``TEXTGEN_RUNS_DIR``, by default ``runs`` in the working directory."""
    return Path(os.environ.get("TEXTGEN_RUNS_DIR") or "runs")


def is_strict() -> bool:
    """Whether ``TEXTGEN_STRICT=1`` asks for the faults of plugins to be raised as they are."""
    return os.environ.get("TEXTGEN_STRICT") == "1"


def data_folder(chosen: Path | None) -> Path | None:
    """Where the corpora's files are looked for first: the chosen folder, or ``TEXTGEN_DATA_DIR``."""
    named = os.environ.get("TEXTGEN_DATA_DIR")
    return chosen or (Path(named) if named else None)
