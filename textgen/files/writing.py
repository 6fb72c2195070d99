"""Writing files: atomic writes, leftovers of killed processes, hashes."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from textgen.errors import ArtifactError
from textgen.files.reading import open_regular

#: Names of the temporary files and folders of textgen, and of nothing else: leftovers are deleted by their names.
TEMPORARY = re.compile(r"\.textgen-[0-9a-f]{16}\.tmp")

#: Names of folders that are being replaced, see :func:`former_of`.
FORMER = re.compile(r"\.textgen-(.+)\.old")

#: Whether open files can neither be renamed nor deleted, and folders not be opened.
WINDOWS = os.name == "nt"

#: Seconds after which a temporary file counts as left over where a file system has no locks.
ABANDONED_AFTER = 24 * 3600

#: Where stdout and stderr lead, by the descriptors that they have in other programs, if a command has moved them.
moved: dict[int, TextIO] = {}

#: Paths that stand for an open file of this process.
_DESCRIPTORS = re.compile(r"/(?:dev|proc/self)/(?:std(?P<name>in|out|err)|fd/(?P<number>[0-9]+))")


def write_atomically(path: Path, content: bytes | str, *, follow: bool = True) -> None:
    """Writes a file completely or not at all, as :func:`write_pieces`.

    A link is followed, and stays; the file that it points to is written. A device, a pipe or an open file of this
    process (``/dev/stdout``) cannot be replaced: the bytes are written to it. A file that exists keeps its permissions;
    its other names (hard links) keep the former content.

    Args:
        path: the file.
        content: its bytes, or its text, which becomes UTF-8.
        follow: ``False`` replaces whatever has the name, be it a link, a device or a pipe, as is right for a file that
            no user has named.

    Raises:
        OSError: naming ``path``.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        target = destination(path) if follow else path
        if isinstance(target, int):
            _write_to(os.dup(moved[target].fileno() if target in moved else target), data)
        elif follow and is_special(target):
            _write_to(os.open(target, os.O_WRONLY), data)
        else:
            write_pieces(target.parent, [data], lambda: target.name)
    except OSError as error:
        error.filename = str(path)  # the name of the temporary file means nothing to users
        raise


def destination(path: Path) -> Path | int:
    """The place that a path leads to if all its links are followed.

    Returns:
        The path of a file, which need not exist, or the number of an open file of this process.

    Raises:
        OSError: if links lead in a circle.
    """
    for _ in range(40):  # as many as Linux follows
        if found := _DESCRIPTORS.fullmatch(os.path.abspath(path)):
            return int(found["number"] or {"in": 0, "out": 1, "err": 2}[found["name"]])
        if not path.is_symlink():
            return path
        path = path.parent / os.readlink(path)
    raise OSError("too many links")


def is_special(path: Path) -> bool:
    """Whether a path is something other than a file or a folder: a device, a pipe, a socket."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def inside(folder: Path, name: str) -> Path:
    """The path of something that textgen writes or deletes, unasked, below a folder such as that of a run.

    Args:
        folder: may itself be a link, and need not exist.
        name: of a file or a folder in it.

    Raises:
        ArtifactError: if a link in the folder leads out of it, or the path is a device, a pipe or a socket.
    """
    path = folder / name
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise ArtifactError(f"{path} is a link that leaves the folder; replace it by what it names, or delete it")
    if is_special(path):
        raise ArtifactError(f"{path} is a device, a pipe or a socket in the place of a file; delete it")
    return path


def _write_to(handle: int, data: bytes) -> None:
    for stream in (sys.stdout, sys.stderr, *moved.values()):  # their text comes first
        with suppress(AttributeError, ValueError):  # closed
            stream.flush()
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def write_pieces(folder: Path, pieces: Iterable[bytes], name: Callable[[], str]) -> Path:
    """Writes a file completely or not at all: to a temporary file beside it, flushed to the disk, then renamed.

    A new file has the permissions that the umask leaves. Temporary files of processes that were killed are deleted.

    Args:
        folder: its folder, which is made if it is missing.
        pieces: its bytes, which need not fit in memory. Errors that they raise pass through.
        name: returns the name of the file; called when all pieces are written.

    Returns:
        The path of the file.

    Raises:
        OSError: if it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    delete_leftovers(folder)
    temporary, handle = _new_file(folder)
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            path = folder / name()
            if path.exists():
                os.chmod(temporary, stat.S_IMODE(path.stat().st_mode))
            if not WINDOWS:
                os.replace(temporary, path)  # while the file is locked: see delete_leftovers
        if WINDOWS:  # which does not rename an open file
            _replace_when_closed(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def _replace_when_closed(temporary: Path, path: Path) -> None:
    """Renames a file on Windows, which refuses that while somebody reads the former one; waits two seconds at most."""
    for _ in range(200):
        try:
            os.replace(temporary, path)
        except PermissionError:
            time.sleep(0.01)
        else:
            return
    os.replace(temporary, path)


def _new_file(folder: Path) -> tuple[Path, int]:
    """Makes a temporary file; returns its path, and the open file, which is locked."""
    while True:
        path = new_temporary(folder)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        if is_locked_by_us(path, handle):
            return path, handle
        os.close(handle)


def new_temporary(folder: Path) -> Path:
    """A new name for a temporary file or folder, by which it is recognised as a leftover."""
    return folder / f".textgen-{os.urandom(8).hex()}.tmp"


def try_lock(handle: int) -> bool | None:
    """Locks an open file or folder, until it is closed or the process ends, even if that is killed.

    Returns:
        ``False`` if another process has locked it; ``None`` if the operating system or the file system has no locks.
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_locked_by_us(path: Path, handle: int) -> bool:
    """Locks a new temporary file or folder; ``False`` if another process has already taken it for a leftover."""
    return try_lock(handle) is not False and path.exists()


def delete_leftovers(folder: Path) -> None:
    """Deletes what processes that were killed left in a folder: temporary files and folders that nobody has locked.

    Where there are no locks, they are left over if they have not changed for a day. A folder that was about to be
    replaced is brought back, see :func:`textgen.files.folders.write_folder`. What cannot be deleted stays.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(".textgen-")]
        for name in names:
            with suppress(OSError):
                if TEMPORARY.fullmatch(name):
                    _delete_if_abandoned(folder / name)
                elif former := FORMER.fullmatch(name):
                    bring_back(folder / former[1])


def _delete_if_abandoned(path: Path) -> None:
    handle = None if WINDOWS else os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        is_free = None if handle is None else try_lock(handle)
        if is_free is None:
            is_free = time.time() - path.stat().st_mtime > ABANDONED_AFTER
        if is_free and path.is_dir():
            shutil.rmtree(path)
        elif is_free:
            path.unlink()
    finally:
        if handle is not None:
            os.close(handle)


def former_of(folder: Path) -> Path:
    """The name of a folder while a new one takes its place, on platforms that cannot exchange them in one step."""
    return folder.with_name(f".textgen-{folder.name}.old")


def bring_back(folder: Path) -> None:
    """Brings a folder back that a process was about to replace when it was killed; deletes it if it was replaced."""
    former = former_of(folder)
    if folder.exists():
        shutil.rmtree(former, ignore_errors=True)
    else:
        with suppress(OSError):  # it was not about to be replaced, or another process was faster
            former.rename(folder)


def quoted(path: Path) -> str:
    """A path, quoted for a shell."""
    return shlex.quote(str(path))


def sha256(path: Path) -> str:
    """The SHA-256 of a regular file, in hexadecimal."""
    import hashlib

    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
