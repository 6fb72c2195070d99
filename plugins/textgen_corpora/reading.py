"""Text out of files, with errors that say what is wrong and where."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from textgen.errors import CorpusError

_OTHER_ENCODING = "if it is text, name its encoding, as with --corpus file --set corpus.encoding=latin-1"


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """The text of a file, line ends as they are, without a UTF-8 byte-order mark.

    Raises:
        CorpusError: where the file cannot be read, or is not text in this encoding.
    """
    if path.is_dir():
        raise CorpusError(f"{path} is a folder; name a file")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CorpusError(f"{path} does not exist; check the path") from None
    except OSError as error:
        raise CorpusError(f"{path} cannot be read: {error.strerror}") from None
    try:
        text = data.decode(encoding)
    except UnicodeError as error:
        at = f" at byte {error.start}" if isinstance(error, UnicodeDecodeError) else ""
        raise CorpusError(f"{path} is not {encoding} text{at}; {_OTHER_ENCODING}") from None
    nul = text.find("\0")
    if nul >= 0:
        raise CorpusError(f"{path} is not {encoding} text: NUL at character {nul}; {_OTHER_ENCODING}")
    return text.removeprefix("\ufeff") if codecs.lookup(encoding).name == "utf-8" else text


def split_lines(text: str) -> list[str]:
    r"""Cut at ``\n`` and ``\r\n`` only: other separators of Unicode are characters to learn."""
    return re.split(r"\r?\n", text)


def csv_rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV text that are not empty, each with the number of its last line, from 1.

    Raises:
        CorpusError: naming the line that is not CSV.
    """
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise CorpusError(f"{path}, line {reader.line_num}: {error}; correct the line") from None


def csv_cell(path: Path, line: int, row: list[str], index: int) -> str:
    """The cell of a row.

    Raises:
        CorpusError: where the row is too short.
    """
    if index >= len(row):
        raise CorpusError(f"{path}, line {line} has {len(row)} columns, none with number {index} (from 0)")
    return row[index]


def not_blank(path: Path, texts: Iterable[str]) -> Iterator[str]:
    """Leave out texts of white space alone.

    Raises:
        CorpusError: at the end, where no text was left.
    """
    empty = True
    for text in texts:
        if text.strip():
            empty = False
            yield text
    if empty:
        raise CorpusError(f"the corpus is empty: {path} has no text")
