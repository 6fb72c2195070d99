"""The environment variables of textgen: all of them are read here, and :data:`VARIABLES` describes each."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

#: A folder that does not exist and cannot be made.
_NOWHERE = Path("/nonexistent/textgen").absolute()


class Variable(NamedTuple):
    """An environment variable, as the documentation shows it."""

    name: str
    meaning: str
    default: str


RUNS_DIR = Variable("TEXTGEN_RUNS_DIR", "Folder in which runs are kept.", "`runs` in the working directory")
DATA_DIR = Variable("TEXTGEN_DATA_DIR", "Folder with the corpora's files, searched before any download.", "none")
CACHE_DIR = Variable(
    "TEXTGEN_CACHE_DIR",
    "Folder for downloads and measurements.",
    "the user's cache folder; for a user without a home, `textgen-UID` in the folder of temporary files",
)
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
    """The folder for files that can be made or downloaded again; it may not exist yet, or not be writable."""
    named = os.environ.get(CACHE_DIR.name)
    if named:
        return Path(named).absolute()
    import platformdirs

    try:
        folder = platformdirs.user_cache_path("textgen", appauthor=False)
    except RuntimeError:  # there is no home
        return _without_home()
    return folder if folder.is_absolute() else _without_home()


def keep_in_cache(variable: str, name: str) -> None:
    """Gives a library a folder below :func:`cache_folder`, for a user without a home, as a container may have.

    Without it, some libraries would warn, and others would make a folder called ``~``. With a home, and if the variable
    is set, nothing changes.

    Args:
        variable: the library's environment variable for its folder: ``"KERAS_HOME"``.
        name: of the folder.
    """
    if not os.path.isabs(os.path.expanduser("~")):
        os.environ.setdefault(variable, str(cache_folder() / name))


def _without_home() -> Path:
    """A folder for temporary files that belongs to the user of this process alone; one that does not exist if need be.

    Other users may write to the folder of temporary files, too: what they put there under this name is not used.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0
    try:
        parent = Path(tempfile.gettempdir())
        if parent == Path.cwd():  # which Python takes if no other folder can be written
            return _NOWHERE
        folder = parent / f"textgen-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return _NOWHERE
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o022
    return folder if is_own else _NOWHERE


def allowed_plugins() -> frozenset[str] | None:
    """The names of plugins or distributions to load besides the bundled ones; ``None`` for all."""
    listed = os.environ.get(PLUGINS.name)
    return None if listed is None else frozenset(name.strip() for name in listed.split(",") if name.strip())


def is_strict() -> bool:
    """Whether errors in plugins are to be raised unchanged."""
    return os.environ.get(STRICT.name) == "1"
