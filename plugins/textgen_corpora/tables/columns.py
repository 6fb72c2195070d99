"""The text of each row of a table, and its label."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from textgen.errors import CorpusError, suggestion
from textgen_corpora.reading import Command
from textgen_corpora.tables.bad_rows import BadRow, BadRows, Row

#: The column of the text, unless another is chosen.
DEFAULT = "text"


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are read.

    Attributes:
        text: the name of the column, or, without a header, its number from 0; ``None`` for :data:`DEFAULT`.
        label: the same for the label; ``None`` for no label.
        drop_nul: whether NUL characters are left out, instead of making a row a bad one.
        command: makes the command that reads the table with other options.
    """

    text: str | None
    label: str | None
    drop_nul: bool
    command: Command

    @property
    def names(self) -> list[str]:
        """The columns that must exist."""
        return [self.text or DEFAULT, *([] if self.label is None else [self.label])]

    @property
    def has_header(self) -> bool:
        """Whether the first row of a delimited table names the columns."""
        return not all(name.isdecimal() for name in self.names)

    def naming(self, column: str, cells: Mapping[str, object]) -> str:
        """A command that names another column instead of one that does not exist.

        Args:
            column: the one that does not exist.
            cells: a cell of each that does; the column with the longest one probably has the text.
        """
        near = difflib.get_close_matches(column, cells, n=1)
        longest = max(cells, key=lambda name: len(str(cells[name])), default=column)
        option = "label" if column == self.label else "column"
        return self.command(**{option: near[0] if near else longest})


#: The label of a row, if it has one, and its text.
Labelled = tuple[str | None, str]


def texts_of_cells(name: str, rows: Iterator[Row], columns: Columns, bad: BadRows) -> Iterator[Labelled]:
    """Yields label and text of the rows of a delimited table; rows with a blank text are left out.

    Raises:
        CorpusError: if a column does not exist, or at a bad row, if they are not to be skipped.
    """
    first = next((row for row in rows if not _is_bad(name, row, bad)), None)
    if first is None:
        return
    cells = [cell.strip() for cell in first.value]
    while columns.has_header and cells and not cells[-1]:
        del cells[-1]  # spreadsheets pad rows
    places = [_place(name, first, column, cells, columns, rows) for column in columns.names]

    def pick(row: Row) -> list[object]:
        found = len(row.value)
        while found > len(cells) and not row.value[found - 1].strip():
            found -= 1
        if found != len(cells):
            raise BadRow(f" has {found} columns, but the first row {len(cells)}")
        return [row.value[place] for place in places]

    if not columns.has_header:
        rows = _chain(first, rows)
    yield from _texts(name, rows, pick, bad)


def texts_of_values(name: str, rows: Iterable[Row], columns: Columns, bad: BadRows) -> Iterator[Labelled]:
    """Yields label and text of JSON objects, or of strings if neither a column nor a label is chosen.

    Raises:
        CorpusError: at a bad row, if they are not to be skipped.
    """
    keys = columns.names

    def pick(row: Row) -> list[object]:
        if isinstance(row.value, str) and columns.text is None and columns.label is None:
            return [row.value]
        if not isinstance(row.value, dict):
            raise BadRow(f' is not a JSON object, such as {{"{keys[0]}": ...}}')
        for key in keys:
            if key not in row.value:
                advice = f"{suggestion(key, row.value)} ({columns.naming(key, row.value)})"
                raise BadRow(f" has no key {key!r}; {advice}")
        if not isinstance(value := row.value[keys[0]], str):
            raise BadRow(f": the value of {keys[0]!r} is not a string or number, but {_kind(value)}")
        return [_unescaped(key, row.value[key], columns) for key in keys]

    yield from _texts(name, rows, pick, bad)


def _texts(name: str, rows: Iterable[Row], pick: Callable[[Row], list[object]], bad: BadRows) -> Iterator[Labelled]:
    for row in rows:
        if _is_bad(name, row, bad):
            continue
        try:
            text, *labels = pick(row)
            assert isinstance(text, str)
            if not text.strip():
                continue
            pair = (_label(labels[0]) if labels else None, text)
        except BadRow as fault:
            bad.handle(name, row, str(fault))
        else:
            yield pair


def _unescaped(key: str, value: object, columns: Columns) -> object:
    """A value in which escapes may have hidden what no text has: a NUL, half a character, or other line ends."""
    if not isinstance(value, str) or (value.isascii() and value.isprintable()):
        return value
    if re.search("[\ud800-\udfff]", value):
        raise BadRow(f": the value of {key!r} contains half of a surrogate pair, which is not a character")
    if "\0" in value and not columns.drop_nul:
        raise BadRow(f": the value of {key!r} contains NUL ({columns.command(drop_nul='true')} leaves such out)")
    return value.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")


def _label(value: object) -> str:
    """A label: a string, a number (which is read as one), or true or false.

    Raises:
        BadRow: if it is something else, or blank.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        raise BadRow(f": its label is {_kind(value)}")
    if not value.strip():
        raise BadRow(": its label is empty")
    return value.strip()


def _is_bad(name: str, row: Row, bad: BadRows) -> bool:
    if row.fault is not None:
        bad.handle(name, row, row.fault)
    return row.fault is not None


def _place(name: str, first: Row, column: str, cells: list[str], columns: Columns, rows: Iterator[Row]) -> int:
    """The number of a column, from 0.

    Args:
        name: of the file.
        first: the first row.
        column: the name of the column, or its number.
        cells: those of the first row.
        columns: all columns that are read.
        rows: the other rows, of which one may be read for advice.
    """
    if columns.has_header and column in cells:
        return cells.index(column)
    if column.isdecimal():
        if int(column) < len(cells):
            return int(column)
        raise CorpusError(
            f"{name}, line {first.line} has {len(cells)} columns, but none with the number {column} (they count from 0)"
        )
    example = next((row.value for row in rows if row.fault is None), first.value)
    raise CorpusError(
        f"{name} has no column {column!r} in its first row; {suggestion(column, cells)} (or a number from 0, if this "
        f"row is not a header), as in: {columns.naming(column, dict(zip(cells, example, strict=False)))}"
    )


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {bool: "true or false", list: "an array", dict: "an object"}.get(type(value), "something else")


def _chain(first: Row, rows: Iterable[Row]) -> Iterator[Row]:
    yield first
    yield from rows
