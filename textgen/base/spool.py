"""Texts that have no file of their own, such as the text of a pipe, kept as files of the cache folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from textgen.base.environment import cache_folder
from textgen.errors import UnavailableError
from textgen.files.writing import write_pieces


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
    digest = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for piece in _read(pieces):
            digest.update(piece)
            yield piece

    try:
        return write_pieces(folder, hashed(), lambda: digest.hexdigest() + suffix)
    except _SourceError as error:
        raise error.error from None
    except OSError as error:
        raise UnavailableError(
            f"the text cannot be kept in {folder}: {error.strerror or error}; free some space or grant access, "
            f"or set TEXTGEN_CACHE_DIR to another folder"
        ) from None


def _read(pieces: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    except OSError as error:
        raise _SourceError(error) from None
