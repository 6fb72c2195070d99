"""Folders that are written completely or not at all, and that no reader ever misses."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from textgen.files.writing import (
    WINDOWS,
    bring_back,
    delete_leftovers,
    former_of,
    is_locked_by_us,
    new_temporary,
    sha256,
)

#: Attempts to put a folder in its place: readers may bring the former one back, other processes may be faster.
ATTEMPTS = 100


@contextmanager
def write_folder(folder: Path) -> Iterator[Path]:
    """Writes a folder completely or not at all.

    On Linux and macOS it changes places with the former one in a single step, if the file system can do that. Elsewhere
    the former one is renamed first. A process that is killed between the two steps leaves it under a hidden name, and
    whatever textgen reads next in there brings it back (:func:`textgen.files.writing.bring_back`). Windows does not
    rename a folder while one of its files is open: that is an error, and leaves the former folder.

    What a killed process has written is deleted by the next one that touches the folder around it. A link to a folder
    stays a link.

    Yields:
        A temporary folder to write to, with the permissions that the umask leaves, or those of the former folder. At
        the end it becomes ``folder`` and replaces any earlier one; on failure it is removed.

    Raises:
        OSError: if it cannot be written.

    Example:
        >>> with write_folder(Path("/tmp/export")) as work:  # doctest: +SKIP
        ...     (work / "model.json").write_text("{}")
    """
    folder = Path(os.path.realpath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    bring_back(folder)
    delete_leftovers(folder.parent)
    with _new_folder(folder.parent) as work:
        yield work
        if folder.exists():
            shutil.copymode(folder, work)
        _put_in_place(work, folder)


def write_sums(file: Path) -> tuple[str, ...]:
    """Writes a file with the SHA-256 of all files of its folder, as ``sha256sum -c`` reads it.

    Returns:
        The paths of the files in the folder, ascending; that of the sums comes last.
    """
    folder = file.parent
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    sums = "".join(f"{sha256(folder / name)}  {name}\n" for name in names)
    file.write_bytes(sums.encode())  # its line ends are the same on every system
    return (*names, file.name)


@contextmanager
def _new_folder(parent: Path) -> Iterator[Path]:
    """Makes a temporary folder, which is locked; deletes it, or whatever has its name then."""
    while True:
        work = new_temporary(parent)
        work.mkdir()
        handle = None if WINDOWS else os.open(work, os.O_RDONLY)
        if handle is None or is_locked_by_us(work, handle):
            break
        os.close(handle)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def _put_in_place(work: Path, folder: Path) -> None:
    """Gives a folder its name; a former one then has the name of the temporary folder."""
    former = former_of(folder)
    for attempt in range(ATTEMPTS):
        if _exchange(work, folder):
            return
        try:
            if folder.exists():
                shutil.rmtree(former, ignore_errors=True)
                folder.rename(former)
            work.rename(folder)
        except OSError:
            bring_back(folder)
            if attempt == ATTEMPTS - 1:
                raise
        else:
            shutil.rmtree(former, ignore_errors=True)
            return


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two folders in one step; returns whether the platform could do it, and both exist."""
    import ctypes

    paths = os.fsencode(one), os.fsencode(other)
    with suppress(AttributeError, OSError):  # a C library without the function
        if sys.platform.startswith("linux"):
            at, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of linux/fs.h
            return bool(ctypes.CDLL(None).renameat2(at, paths[0], at, paths[1], exchange) == 0)
        if sys.platform == "darwin":
            swap = 2  # RENAME_SWAP of sys/stdio.h
            return bool(ctypes.CDLL(None).renamex_np(*paths, swap) == 0)
    return False
