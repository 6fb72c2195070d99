"""Tables of cells with a delimiter between them: CSV and its relatives."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from textgen_corpora.tables.bad_rows import Row
from textgen_corpora.text_files.layouts import split_lines

#: Delimiters to choose from, by what the beginning of a table looks like.
DELIMITERS = (",", ";", "\t", "|")

#: The least share of rows that must have as many cells as the first one, unless that one has the names of columns.
_ALIKE = 0.5

#: Rows by which a table is recognised.
_FIRST = 10


@dataclass(frozen=True)
class Dialect:
    """How cells are written.

    Attributes:
        delimiter: between cells.
        quote: around cells that have a delimiter, a line end or a quote in them, there doubled; ``None`` for no quotes.
        escape: before a character that is taken as it is; ``None`` if there is none.
    """

    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None


def read_rows(pieces: Iterable[str], dialect: Dialect) -> Iterator[Row]:
    """Yields the rows of a table that are not blank.

    After a malformed row, reading resumes at its second line, so an unclosed quote costs one line.
    A first line such as ``sep=;``, which is for Excel, is left out.
    """
    csv.field_size_limit(2**31 - 1)  # a document may be a book
    lines = _Lines(pieces)
    reader = _reader(lines, dialect, strict=True)
    while True:
        lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(lines.row_line, lines.row_source, fault=f": {error}")
            lines.return_to_second_line()
            continue
        line, source = lines.row_line, lines.row_source
        if "".join(cells).strip() and not (line == 1 and named_delimiter(source)):
            yield Row(line, source, cells)


def named_delimiter(line: str) -> str | None:
    """The delimiter that a first line such as ``sep=;`` names; ``None`` for any other line."""
    line = line.rstrip("\n").strip('"')
    return line[4:] if len(line) == 5 and line[:4].lower() == "sep=" else None


def sniff_delimiter(head: str, dialect: Dialect, wanted: Iterable[str]) -> str:
    """Finds the delimiter of a table: the one that gives all rows the same number of cells, more than one.

    Args:
        head: the beginning of the table.
        dialect: quotes and escapes, and the delimiter to prefer, which is also the answer if none fits.
        wanted: names of columns; a delimiter with which the first row has them is preferred.
    """
    if named := named_delimiter(head.partition("\n")[0]):
        return named
    names = set(wanted)
    lines = [line + "\n" for line in split_lines([head])]

    def fit(delimiter: str) -> tuple[bool, float, int, bool]:
        rows = list(filter(None, _reader(lines, replace(dialect, delimiter=delimiter), strict=False)))
        if len(rows) > 2:
            del rows[-1]  # the head may end within it
        width = len(rows[0]) if rows else 0
        share = sum(len(row) == width for row in rows) / len(rows) if width > 1 else 0.0
        has_names = width > 1 and names <= {cell.strip() for cell in rows[0]}
        return has_names, share, width, delimiter == dialect.delimiter

    fits = {delimiter: fit(delimiter) for delimiter in DELIMITERS}
    best = max(fits, key=lambda delimiter: fits[delimiter])
    has_names, share, _, _ = fits[best]
    return best if has_names or share >= _ALIKE else dialect.delimiter


def looks_like_table(head: str) -> bool:
    """Whether the first rows of a text, at least three, have the same number of cells, more than one.

    Args:
        head: the beginning of the text.
    """
    tables = (list(islice(read_rows([head], Dialect(delimiter)), _FIRST)) for delimiter in (",", ";", "\t"))
    return any(
        len(rows) > 2 and all(row.fault is None and len(row.value) == len(rows[0].value) > 1 for row in rows)
        for rows in tables
    )


def _reader(lines: Iterable[str], dialect: Dialect, *, strict: bool) -> Iterator[list[str]]:
    return csv.reader(
        lines,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        escapechar=dialect.escape,
        strict=strict,
    )


class _Lines:
    """The lines of a text, with their ends, of which those of a row can be read again."""

    def __init__(self, pieces: Iterable[str]) -> None:
        self._rest = split_lines(pieces)
        self._again: deque[str] = deque()
        self._taken: list[str] = []
        self._number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._rest) + "\n"
        self._taken.append(line)
        return line

    def begin_row(self) -> None:
        """Notes that a new row begins."""
        self._number += len(self._taken)
        self._taken.clear()

    @property
    def row_line(self) -> int:
        """The number of the first line of the row, from 1."""
        return self._number + 1

    @property
    def row_source(self) -> str:
        """The first line of the row."""
        return self._taken[0]

    def return_to_second_line(self) -> None:
        """Lets all lines of the row but the first be read again."""
        self._again.extendleft(reversed(self._taken[1:]))
        del self._taken[1:]
