"""The text of each row of a table, and its label."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from textgen.errors import CorpusError, suggestion
from textgen_corpora.reading import Command
from textgen_corpora.tables.bad_rows import BadRow, BadRows, Row

#: Names that options read in another way.
_RESERVED = ("", "none", "filename", "folder")

#: What to do about tables none of whose columns is in all of them.
NOTHING_SHARED = "the files have no column in common; give them the same columns, or train on one of them"

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
        shared: finds the columns that all tables of the corpus have; ``None`` if there is only one table.
    """

    text: str | None
    label: str | None
    drop_nul: bool
    command: Command
    shared: Callable[[], set[str] | None] = lambda: None

    @property
    def names(self) -> list[str]:
        """The columns that must exist."""
        return [self.text or DEFAULT, *([] if self.label is None else [self.label])]

    @property
    def has_header(self) -> bool:
        """Whether the first row of a delimited table names the columns."""
        return not all(name.isdecimal() for name in self.names)

    def choosing(self, column: str, other: object) -> str:
        """A command that reads another column instead of one that does not exist, or exists twice."""
        return self.command(**{"label" if column == self.label else "column": str(other)})

    def instead(self, column: str, cells: Mapping[str, object]) -> str | None:
        """The column that was probably meant by one that does not exist.

        Args:
            column: the one that does not exist.
            cells: a cell of each that does.

        Returns:
            Its name; ``None`` if no column is in all tables of the corpus.
        """
        shared = self.shared()
        known = {name: cell for name, cell in cells.items() if shared is None or name in shared}
        known = {name: cell for name, cell in known.items() if name not in self.names} or known
        near = difflib.get_close_matches(column, known, n=1)
        return near[0] if near else max(known, key=lambda name: _likelihood(known[name]), default=None)


#: The label of a row, if it has one, and its text.
Labelled = tuple[str | None, str]


def texts_of_cells(name: str, rows: Iterator[Row], columns: Columns, bad: BadRows) -> Iterator[Labelled]:
    """Yields label and text of the rows of a delimited table; rows with a blank text are left out.

    Raises:
        CorpusError: if a column does not exist, or at a bad row, if they are not to be skipped.
    """
    first = next(rows, None)
    while first is not None and first.fault is not None:
        # Without the names of columns, the row after them would be taken for these.
        bad.handle(
            name, first, BadRow(first.fault), lambda: not columns.has_header and any(not row.fault for row in rows)
        )
        first = next(rows, None)
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
            raise BadRow(f" has {_columns(found)}, but the first row has {len(cells)}")
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
            return [_unescaped("the string", row.value, columns)]
        if not isinstance(row.value, dict):
            raise BadRow(f' is not a JSON object, such as {{"{keys[0]}": ...}}')
        for key in keys:
            if key not in row.value:
                raise _without_key(key, row.value, columns)
        if not isinstance(value := row.value[keys[0]], str):
            raise BadRow(f": the value of {keys[0]!r} is not a string or number, but {_kind(value)}")
        return [_unescaped(f"the value of {key!r}", row.value[key], columns) for key in keys]

    yield from _texts(name, iter(rows), pick, bad)


def _without_key(key: str, value: Mapping[str, object], columns: Columns) -> BadRow:
    """The fault of a JSON object that does not have a key, and what to do."""
    texts = {name: each for name, each in value.items() if isinstance(each, str) and name not in _RESERVED}
    for name, each in value.items():
        if isinstance(each, list) and (not texts or any(isinstance(row, dict) and key in row for row in each)):
            return BadRow(f" has no key {key!r}", f"the rows are in {name!r}; save that array as a file of its own")
    if not texts:
        return BadRow(f" has no key {key!r}, nor another one whose value is a string")
    other = columns.instead(key, texts)
    if other is None:
        return BadRow(f" has no key {key!r}", NOTHING_SHARED)
    return BadRow(f" has no key {key!r}; {suggestion(key, texts)} ({columns.choosing(key, other)})")


def _texts(name: str, rows: Iterator[Row], pick: Callable[[Row], list[object]], bad: BadRows) -> Iterator[Labelled]:
    def read(row: Row) -> Labelled | None:
        if row.fault is not None:
            raise BadRow(row.fault)
        text, *labels = pick(row)
        assert isinstance(text, str)
        return (_label(labels[0]) if labels else None, text) if text.strip() else None

    def is_good(row: Row) -> bool:
        try:
            return read(row) is not None
        except BadRow:
            return False

    for row in rows:
        try:
            pair = read(row)
        except BadRow as fault:
            bad.handle(name, row, fault, lambda: bad.has_good or _any(map(is_good, rows)))
        else:
            if pair is not None:
                bad.has_good = True
                yield pair


def _any(good: Iterator[bool]) -> bool:
    """Whether a row is good; none is, if the rest of the file cannot be read."""
    try:
        return any(good)
    except CorpusError:
        return False


def _unescaped(what: str, value: object, columns: Columns) -> object:
    """A value in which escapes may have hidden what no text has: a NUL, half a character, or other line ends."""
    if not isinstance(value, str) or (value.isascii() and value.isprintable()):
        return value
    if re.search("[\ud800-\udfff]", value):
        raise BadRow(f": {what} contains half of a surrogate pair, which is not a character")
    if "\0" in value and not columns.drop_nul:
        raise BadRow(f": {what} contains NUL ({columns.command(drop_nul='true')} leaves such out)")
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
    alike = [place for place, cell in enumerate(cells) if cell == column] if columns.has_header else []
    if len(alike) > 1:
        raise CorpusError(
            f"{name} has {len(alike)} columns {column!r} in its first row; rename one of them, or choose one by its "
            f"number ({' or '.join(map(str, alike))}), for which this row may become a text, too: "
            f"{columns.choosing(column, alike[0])}"
        )
    if alike:
        return alike[0]
    if column.isdecimal():
        if int(column) < len(cells):
            return int(column)
        raise CorpusError(
            f"{name}, line {first.line} has {_columns(len(cells))}, but none with the number {column} "
            f"(they count from 0)"
        )
    example = next((row.value for row in rows if row.fault is None), first.value)
    other = column_instead(column, cells, example, columns)
    if other is None:
        raise CorpusError(f"{name} has no column {column!r} in its first row; {NOTHING_SHARED}")
    raise CorpusError(
        f"{name} has no column {column!r} in its first row; {suggestion(column, cells)} (or a number from 0, if this "
        f"row is not a header), as in: {columns.choosing(column, other)}"
    )


def column_instead(column: str, cells: list[str], example: list[str], columns: Columns) -> str | int | None:
    """The column of a delimited table that was probably meant by one that does not exist.

    Args:
        column: the one that does not exist.
        cells: those of the first row.
        example: those of the second row.
        columns: all columns that are read.

    Returns:
        Its name, or its number if it cannot be named; ``None`` if no column is in all tables of the corpus.
    """
    if _is_without_header(cells, example):
        both = [" ".join(pair) for pair in zip(cells, example, strict=False)]
        return both.index(max(both, key=_likelihood))
    other = columns.instead(column, dict(zip(cells, example, strict=False)))
    return other if other is None or _is_nameable(other, cells) else cells.index(other)


def _is_without_header(cells: list[str], example: list[str]) -> bool:
    """Whether a first row looks like the second one: it has numbers, and has them wherever that one has."""
    pairs = [(_is_number(cell), _is_number(below)) for cell, below in zip(cells, example, strict=False)]
    return any(map(_is_number, cells)) and all(above or not below for above, below in pairs)


def _likelihood(cell: object) -> tuple[bool, int]:
    """How likely the column of a cell has the text: rather words than a number, and rather a long cell."""
    return not all(map(_is_number, str(cell).split())), len(str(cell))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_nameable(name: str, cells: list[str]) -> bool:
    """Whether an option can name a column: what is empty, a number, or has a meaning of its own cannot be a name."""
    return cells.count(name) == 1 and name not in _RESERVED and not _is_number(name)


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {bool: "true or false", list: "an array", dict: "an object"}.get(type(value), "something else")


def _chain(first: Row, rows: Iterable[Row]) -> Iterator[Row]:
    yield first
    yield from rows
