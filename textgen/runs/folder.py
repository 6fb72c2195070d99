"""The artifact: a run's folder, self-contained, without executable code, and whole at any moment.

``textgen.json`` describes the run and holds size and SHA-256 of every other file. A file that a reader relies on
(``tokenizer.json``, the weights) is never written over while ``textgen.json`` points to it: weights are written under a
new name first, then ``textgen.json`` is replaced in one step. A run killed at any moment leaves a folder that loads.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from textgen.base.environment import runs_folder
from textgen.base.files import quoted
from textgen.errors import ArtifactError
from textgen.runs.manifest import MANIFEST


def list_runs() -> list[Path]:
    """The runs in :func:`runs_folder`, the latest first."""
    found = runs_folder().glob(f"*/{MANIFEST}")
    return [file.parent for file in sorted(found, key=lambda file: (file.stat().st_mtime_ns, file), reverse=True)]


def find_run(run: Path | None) -> Path:
    """The folder of a run: a path, a name in :func:`runs_folder`, or the latest for ``None``.

    Raises:
        ArtifactError: where there is none.
    """
    if run is None:
        runs = list_runs()
        if not runs:
            raise ArtifactError(f"there is no run in {runs_folder()}; make one with: textgen train --corpus dinos-lite")
        return runs[0]
    if not run.exists() and (runs_folder() / run / MANIFEST).exists():
        return runs_folder() / run
    return run


@contextmanager
def new_folder(folder: Path | None, name: str, *, overwrite: bool = False) -> Iterator[Path]:
    """Make the folder of a new run and claim it; where nothing is written to it, it is gone afterwards.

    Args:
        folder: that was asked for; ``None`` for one of its own in :func:`textgen.base.environment.runs_folder`.
        name: of that one, as far as it is free: with a number behind it otherwise.
        overwrite: whether a run may be in the folder that was asked for.

    Raises:
        ArtifactError: where the folder is in use or cannot be made.
    """
    is_replaced = folder is not None and overwrite and (folder / MANIFEST).is_file()
    if folder is not None and not is_replaced:
        _check_free(folder)
    _check_place(folder or runs_folder())
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
            with suppress(OSError):  # it is not empty: something was written
                path.rmdir()


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep other processes from writing a run while this one does; a claim ends with its process, however that ends.

    A system or a file system without locks has no claims.

    Raises:
        ArtifactError: where another process has claimed the folder.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArtifactError(
                f"{folder} is being written by another process; wait until it has ended, or stop it"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


def empty(folder: Path) -> None:
    """Delete all that is in a folder; the folder, and a claim on it, stay."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArtifactError(f"{folder} exists already; choose another --out, or go on with: --resume {quoted(folder)}")


def _check_place(folder: Path) -> None:
    at_hand = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not at_hand.is_dir():
        raise ArtifactError(f"{at_hand} is a file, not a folder to put a run in; choose another --out")
    if not os.access(at_hand, os.W_OK):
        raise ArtifactError(f"{at_hand} cannot be written to; choose another --out")


def _make(folder: Path, made: list[Path]) -> None:
    """Make a folder and those above it; those that were not there are added to a list."""
    for path in [*reversed(folder.parents), folder]:
        if not path.exists():
            with suppress(FileExistsError):  # another process was faster
                path.mkdir()
                made.append(path)


def _make_next(folder: Path, made: list[Path]) -> Path:
    """Make a folder that no other process has made, under the next name that is free."""
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
