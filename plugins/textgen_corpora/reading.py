"""Reading text files, with errors that name the mistake and its place."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from textgen.errors import CorpusError

_OTHER_ENCODING = "if it is text, name its encoding, as with --corpus file --set corpus.encoding=latin-1"


#: Bytes to read at a time.
PIECE = 1 << 22


def read_pieces(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """Yields the text of a file in pieces, with its line ends, without a UTF-8 byte-order mark.

    Raises:
        CorpusError: if the file cannot be read, or is not text in this encoding.
    """
    bytes_read = characters = 0
    decoder = codecs.getincrementaldecoder(encoding)()
    has_mark = codecs.lookup(encoding).name == "utf-8"
    for data in _read_bytes(path):
        pending = len(decoder.getstate()[0])  # bytes of a character that the end of the previous piece cut
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeError as error:
            at = f" at byte {bytes_read - pending + error.start}" if isinstance(error, UnicodeDecodeError) else ""
            raise CorpusError(f"{path} is not {encoding} text{at}; {_OTHER_ENCODING}") from None
        nul = text.find("\0")
        if nul >= 0:
            raise CorpusError(f"{path} is not {encoding} text: NUL at character {characters + nul}; {_OTHER_ENCODING}")
        if unmarked := text.removeprefix("\ufeff") if has_mark and not characters else text:
            yield unmarked
        bytes_read += len(data)
        characters += len(text)


def _read_bytes(path: Path) -> Iterator[bytes]:
    """Yields the content of a file in pieces; the last piece is empty."""
    if path.is_dir():
        raise CorpusError(f"{path} is a folder; name a file")
    if path.exists() and not path.is_file():
        raise CorpusError(f"{path} is a pipe or a device, but the text is read twice; save it to a file")
    try:
        with path.open("rb") as file:
            while data := file.read(PIECE):
                yield data
    except FileNotFoundError:
        raise CorpusError(f"{path} does not exist; check the path") from None
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}") from None
    yield b""


def split_lines(pieces: Iterable[str]) -> Iterator[str]:
    r"""Splits a text at ``\n`` and ``\r\n`` only: other line separators of Unicode are ordinary characters."""
    start: list[str] = []
    for piece in pieces:
        end, *lines = piece.split("\n")
        start.append(end)
        if lines:
            yield "".join(start).removesuffix("\r")
            start = [lines.pop()]
            for line in lines:
                yield line.removesuffix("\r")
    yield "".join(start)


def csv_rows(path: Path, pieces: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yields the non-empty rows of a CSV text, each with the number of its last line, from 1.

    Raises:
        CorpusError: if a line is not CSV.
    """
    csv.field_size_limit(2**31 - 1)  # a document may be a book
    reader = csv.reader(_csv_lines(pieces), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise CorpusError(f"{path}, line {reader.line_num}: {error}; correct the line") from None


def _csv_lines(pieces: Iterable[str]) -> Iterator[str]:
    r"""Yields lines as the csv module expects them, with their ends: ``\n``, ``\r`` or ``\r\n``."""
    rest = ""
    for piece in pieces:
        lines = io.StringIO(rest + piece, newline="").readlines()
        rest = lines.pop() if lines else ""  # it may continue in the next piece
        yield from lines
    if rest:
        yield rest


def csv_cell(path: Path, line: int, row: list[str], index: int) -> str:
    """A cell of a row.

    Raises:
        CorpusError: if the row is too short.
    """
    if index >= len(row):
        raise CorpusError(f"{path}, line {line} has {len(row)} columns, but none with the number {index} (from 0)")
    return row[index]


def not_blank(path: Path, texts: Iterable[str]) -> Iterator[str]:
    """Yields the texts that contain more than white space.

    Raises:
        CorpusError: at the end, if there were none.
    """
    empty = True
    for text in texts:
        if text.strip():
            empty = False
            yield text
    if empty:
        raise _empty(path)


def not_all_blank(path: Path, pieces: Iterable[str]) -> Iterator[str]:
    """Yields the pieces of a text unchanged.

    Raises:
        CorpusError: at the end, if all of them were white space.
    """
    empty = True
    for piece in pieces:
        empty = empty and not piece.strip()
        yield piece
    if empty:
        raise _empty(path)


def _empty(path: Path) -> CorpusError:
    return CorpusError(f"the corpus is empty: {path} has no text")
