"""Run folders: naming, finding, creating, locking and tidying them."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from textgen.base.console import notice
from textgen.base.environment import runs_folder
from textgen.errors import ArtifactError
from textgen.files.writing import WINDOWS, delete_leftovers, inside, quoted, try_lock
from textgen.options import Settings
from textgen.runs.artifact import Artifact
from textgen.runs.manifest import CHECKPOINTS, MANIFEST

#: Names of the files of checkpoints, and of nothing else: those that nothing points to are deleted by their names.
CHECKPOINT = re.compile(r"step-[0-9]{8,}\.safetensors")


def name_run(settings: Settings) -> str:
    """Names the folder of a new run: local time, corpus and model, as in ``20260131-120000-dinos-gru``."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{settings['corpus']['name']}-{settings['model']['name']}"


def list_runs() -> list[Path]:
    """Returns the runs in :func:`textgen.base.environment.runs_folder`, the latest first."""
    found: list[tuple[int, Path]] = []
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(runs_folder()) as entries:
        for entry in entries:
            with suppress(OSError):  # no run, or one that this user may not see
                found.append((os.stat(Path(entry.path, MANIFEST)).st_mtime_ns, Path(entry.path)))
    return [folder for _, folder in sorted(found, reverse=True)]


def find_run(run: Path | None) -> Path:
    """Returns the folder of a run.

    Args:
        run: its path, or its name in :func:`textgen.base.environment.runs_folder`; ``None`` for the latest run that can
            write text. Later ones that cannot are named on stderr. If none can, it is the latest.

    Raises:
        ArtifactError: if the latest run is asked for and there are none.
    """
    if run is None:
        return _latest_run()
    if not run.exists() and (runs_folder() / run / MANIFEST).exists():
        return runs_folder() / run
    return run


def _latest_run() -> Path:
    runs = list_runs()
    if not runs:
        raise ArtifactError(no_runs())
    passed_over: list[str] = []
    for run in runs:
        reason = _cannot_write(run)
        if reason is None:
            for line in passed_over:
                notice(f"{line}; using {run} instead")
            return run
        passed_over.append(f"the latest run is passed over: {reason}" if not passed_over else reason)
    return runs[0]


def _cannot_write(run: Path) -> str | None:
    """Why a run cannot write text; ``None`` if it can, as far as its manifest and the size of its weights show."""
    try:
        Artifact.open(run).check_weights()
    except ArtifactError as error:
        return str(error)
    return None


def no_runs() -> str:
    """The message for an empty folder of runs."""
    return f"the folder {runs_folder()} has no runs; train one with: textgen train --corpus dinos-lite"


@contextmanager
def new_folder(folder: Path | None, name: str, *, overwrite: bool = False) -> Iterator[Path]:
    """Creates and claims the folder of a new run; removes it afterwards if it is empty.

    Args:
        folder: the requested folder; ``None`` for a new one in :func:`textgen.base.environment.runs_folder`.
        name: the name of a new one; a number is appended if it is taken.
        overwrite: whether the requested folder may hold a run.

    Raises:
        ArtifactError: if the folder is in use or cannot be created.
    """
    is_replaced = folder is not None and overwrite and (folder / MANIFEST).is_file()
    if folder is not None and not is_replaced:
        _check_free(folder)
    check_place(folder or runs_folder())
    made: list[Path] = []
    try:
        if folder is None:
            folder = _make_next(runs_folder() / name, made)
        else:
            _make(folder, made)
        with claimed(folder):
            yield folder
    finally:
        for path in reversed(made):
            with suppress(OSError):  # not empty: something was written
                path.rmdir()


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Locks a run's folder against writing by other processes; the lock ends with its process, even if that is killed.

    On an operating system or a file system without locks, does nothing.

    Raises:
        ArtifactError: if another process has claimed the folder.
    """
    if WINDOWS:  # which does not open folders
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if try_lock(handle) is False:
            raise ArtifactError(f"{folder} is being written by another process; wait until it has ended, or stop it")
        yield
    finally:
        os.close(handle)


def tidy(artifact: Artifact) -> None:
    """Deletes what killed commands left in the folder of a run, unless another process is at work there.

    Nothing is deleted in folders that a link puts there.
    """
    folder = artifact.path
    for name in (".", CHECKPOINTS, "plots"):
        with suppress(ArtifactError):
            delete_leftovers(inside(folder, name))
    if artifact.manifest.status == "finished" and _unrecorded(artifact):
        with suppress(ArtifactError, OSError), claimed(folder):
            for file in _unrecorded(Artifact.open(folder)):
                file.unlink(missing_ok=True)


def _unrecorded(artifact: Artifact) -> list[Path]:
    """Checkpoints that the manifest does not point to."""
    found = checkpoint_files(artifact.path)
    return [file for file in found if f"{CHECKPOINTS}/{file.name}" not in artifact.manifest.files]


def checkpoint_files(folder: Path) -> list[Path]:
    """The checkpoints in a run's folder, by their names; none if a link leads to them from elsewhere."""
    try:
        return [file for file in inside(folder, CHECKPOINTS).iterdir() if CHECKPOINT.fullmatch(file.name)]
    except (ArtifactError, OSError):
        return []


def empty(folder: Path) -> None:
    """Deletes the content of a folder, but not the folder, so that a claim on it stays.

    The manifest is the last to go: if the process is killed before, the folder still counts as a run to be replaced.
    """
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == MANIFEST):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _check_free(folder: Path) -> None:
    if folder.is_symlink() and not folder.exists():
        raise ArtifactError(f"{folder} is a link to a folder that does not exist; choose another --out")
    if folder.exists() and not folder.is_dir():
        raise ArtifactError(f"{folder} is a file, not a folder; choose another --out")
    delete_leftovers(folder)
    if folder.exists() and any(folder.iterdir()):
        raise ArtifactError(
            f"{folder} already exists; choose another --out, or resume it with: --resume {quoted(folder)}"
        )


def check_place(folder: Path) -> None:
    """Checks that a folder can be made, or written to.

    Raises:
        ArtifactError: if a file is in the way, or permission is missing.
    """
    check_circle(folder)
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir():
        raise ArtifactError(f"{existing} is a file, not a folder; choose another --out")
    if not os.access(existing, os.W_OK):
        raise ArtifactError(f"{existing} is not writable; choose another --out")


def check_circle(folder: Path) -> None:
    """Checks that the links in a path lead somewhere.

    Raises:
        ArtifactError: if one leads back to itself.
    """
    for path in (folder, *folder.parents):
        if os.path.islink(os.path.realpath(path)):
            raise ArtifactError(f"{path} is a link that leads to itself; choose another --out")


def _make(folder: Path, made: list[Path]) -> None:
    """Creates a folder and its parents; adds those that did not exist to ``made``."""
    for path in [*reversed(folder.parents), folder]:
        if not path.exists():
            with suppress(FileExistsError):  # another process was faster
                path.mkdir()
                made.append(path)


def _make_next(folder: Path, made: list[Path]) -> Path:
    """Creates a new folder under the next free name, even if other processes do the same."""
    _make(folder.parent, made)
    path, count = folder, 2
    while True:
        try:
            path.mkdir()
        except FileExistsError:
            path, count = folder.with_name(f"{folder.name}-{count}"), count + 1
        else:
            made.append(path)
            return path
