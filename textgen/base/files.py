"""Writing files: atomic writes, hashes."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from textgen.base.reading import open_regular


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file completely or not at all, as :func:`write_pieces`.

    Raises:
        OSError: naming ``path``.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        write_pieces(path.parent, [data], lambda: path.name)
    except OSError as error:
        error.filename = str(path)  # the name of the temporary file means nothing to users
        raise


def write_pieces(folder: Path, pieces: Iterable[bytes], name: Callable[[], str]) -> Path:
    """Write a file completely or not at all: to a temporary file beside it, flushed to the disk, then renamed.

    Args:
        folder: its folder, which is made if it is missing.
        pieces: its bytes, which need not fit in memory. Errors that they raise pass through.
        name: returns the name of the file; called when all pieces are written.

    Returns:
        The path of the file.

    Raises:
        OSError: if it cannot be written.
    """
    import tempfile

    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=folder)
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        path = folder / name()
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise
    return path


@contextmanager
def write_folder(folder: Path) -> Iterator[Path]:
    """Writes a folder completely or not at all.

    Yields:
        A temporary folder to write to. At the end it becomes ``folder`` and replaces any earlier one; on failure it is
        removed.

    Example:
        >>> with write_folder(Path("/tmp/export")) as work:  # doctest: +SKIP
        ...     (work / "model.json").write_text("{}")
    """
    import tempfile

    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        os.chmod(work, 0o755)
        yield work
        former = work.with_name(work.name + ".old")
        if folder.exists():
            folder.rename(former)
        work.rename(folder)
        shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def quoted(path: Path) -> str:
    """A path, quoted for a shell."""
    return shlex.quote(str(path))


def sha256(path: Path) -> str:
    """The SHA-256 of a regular file, in hexadecimal."""
    import hashlib

    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
