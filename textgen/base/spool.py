"""Texts that have no file of their own, such as the text of a pipe, kept as files of the cache folder."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from textgen.base.environment import cache_folder
from textgen.errors import UnavailableError


class _SourceError(Exception):
    """An error of the source of a text, as opposed to one of the cache folder."""

    def __init__(self, error: OSError) -> None:
        self.error = error


def spool(pieces: Iterable[bytes], suffix: str = ".txt") -> Path:
    """Writes a text to ``texts`` in the cache folder, so that it can be read again.

    Errors raised by ``pieces`` pass through; nothing is kept then.

    Args:
        pieces: its bytes, which need not fit in memory.
        suffix: of the file, such as ``".jsonl"``.

    Returns:
        The path, whose name is the SHA-256 of the bytes: the same text always has the same path.

    Raises:
        UnavailableError: if the file cannot be written.
    """
    folder = cache_folder() / "texts"
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=folder)
        digest = hashlib.sha256()
        with os.fdopen(handle, "wb") as file:
            for piece in _read(pieces):
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        path = folder / (digest.hexdigest() + suffix)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, _SourceError):
            raise error.error from None
        if isinstance(error, OSError):
            raise UnavailableError(
                f"the text cannot be kept in {folder}: {error.strerror or error}; free some space or grant access, "
                f"or set TEXTGEN_CACHE_DIR to another folder"
            ) from None
        raise
    return path


def _read(pieces: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    except OSError as error:
        raise _SourceError(error) from None
