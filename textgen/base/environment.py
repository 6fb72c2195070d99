"""The environment variables of textgen: all of them are read here, and :data:`VARIABLES` describes each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple


class Variable(NamedTuple):
    """An environment variable, as the documentation shows it."""

    name: str
    meaning: str
    default: str


RUNS_DIR = Variable("TEXTGEN_RUNS_DIR", "Folder in which runs are kept.", "`runs` in the working directory")
DATA_DIR = Variable("TEXTGEN_DATA_DIR", "Folder with the corpora's files, searched before any download.", "none")
CACHE_DIR = Variable("TEXTGEN_CACHE_DIR", "Folder for downloads and measurements.", "the user's cache folder")
PLUGINS = Variable(
    "TEXTGEN_PLUGINS",
    "Plugins or distributions to load besides the bundled ones, separated by commas; set but empty, none.",
    "all that are installed",
)
STRICT = Variable("TEXTGEN_STRICT", "`1` raises errors in plugins unchanged, with their traceback.", "unset")

VARIABLES = (RUNS_DIR, DATA_DIR, CACHE_DIR, PLUGINS, STRICT)


def runs_folder() -> Path:
    """The folder in which runs are kept."""
    return Path(os.environ.get(RUNS_DIR.name) or "runs")


def data_folder(chosen: Path | None) -> Path | None:
    """The folder to search for a corpus's files before any download: the chosen one, or that of the environment."""
    named = os.environ.get(DATA_DIR.name)
    return chosen or (Path(named) if named else None)


def cache_folder() -> Path:
    """The folder for files that can be made or downloaded again; it may not exist yet."""
    named = os.environ.get(CACHE_DIR.name)
    if named:
        return Path(named).absolute()
    import platformdirs

    return platformdirs.user_cache_path("textgen", appauthor=False)


def allowed_plugins() -> frozenset[str] | None:
    """The names of plugins or distributions to load besides the bundled ones; ``None`` for all."""
    listed = os.environ.get(PLUGINS.name)
    return None if listed is None else frozenset(name.strip() for name in listed.split(",") if name.strip())


def is_strict() -> bool:
    """Whether errors in plugins are to be raised unchanged."""
    return os.environ.get(STRICT.name) == "1"
