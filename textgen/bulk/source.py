"""The input of a job: files of prompts, read row by row."""

from __future__ import annotations

import csv
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from textgen.bulk.formats import import_pyarrow
from textgen.errors import OptionError, suggestion
from textgen.files.reading import open_regular

#: The bytes at both ends of a file that identify it, with its size.
ENDS = 2**20

#: A prompt, and the values of the columns that are kept.
Entry = tuple[Any, Sequence[Any]]


class Flaw(str):
    """Stands in the place of a prompt that cannot be read, and says why."""


class Source(ABC):
    """Files of prompts, in order.

    Args:
        paths: of the files.
        column: with the prompts.
        keep: the columns that are kept.

    Raises:
        OptionError: if a file cannot be read, or lacks a column.
    """

    def __init__(self, paths: Sequence[Path], column: str, keep: Sequence[str]) -> None:
        self.paths = paths
        self.column = column
        self.keep = keep
        for path in paths:
            self._check(path)

    #: The types of kept columns, where a file knows them.
    types: Mapping[str, Any] = {}

    def describe(self) -> list[dict[str, Any]]:
        """What identifies the files: size, and SHA-256 of the first and the last megabyte; not their names."""
        return [_describe(path) for path in self.paths]

    def count(self) -> int:
        """The number of rows."""
        return sum(1 for _ in self.entries())

    def entries(self, skip: int = 0) -> Iterator[Entry]:
        """Yields the entries, without the first ones.

        Raises:
            OptionError: if a file cannot be read.
        """
        for path in self.paths:
            for entry in self._read(path):
                if skip:
                    skip -= 1
                else:
                    yield entry

    @abstractmethod
    def _read(self, path: Path) -> Iterator[Entry]:
        """Yields the entries of a file."""

    @abstractmethod
    def _check(self, path: Path) -> None:
        """Check that a file has the columns."""

    def _missing(self, path: Path, known: Sequence[str]) -> None:
        for name in (self.column, *self.keep):
            if name not in known:
                raise OptionError(f"{path} has no column {name!r}; {suggestion(name, known)}")


class LinesSource(Source):
    """One prompt per line; empty lines do not count."""

    def _check(self, path: Path) -> None:
        if self.keep:
            raise OptionError(f"{path} has no columns to keep; use a .csv, .jsonl or .parquet file")
        next(self._read(path), None)

    def _read(self, path: Path) -> Iterator[Entry]:
        with open_text(path, newline=None) as file:
            for line in _decoded(path, file):
                if text := line.removesuffix("\n"):
                    yield text, ()


class JsonSource(Source):
    """JSON Lines, an object per line."""

    def _check(self, path: Path) -> None:
        if (first := first_object(path)) is not None:
            self._missing(path, list(first))

    def _read(self, path: Path) -> Iterator[Entry]:
        for _, found in self._objects(path):
            if isinstance(found, Flaw):
                yield found, [None] * len(self.keep)
            else:
                yield found.get(self.column), [found.get(name) for name in self.keep]

    def _objects(self, path: Path) -> Iterator[tuple[int, dict[str, Any] | Flaw]]:
        """Yields the number of each line that is not empty, from 1, and what it has."""
        with open_text(path) as file:
            for number, line in enumerate(_decoded(path, file), 1):
                if line.strip():
                    found = _parse_object(line)
                    yield number, found if isinstance(found, dict) else Flaw(f"{path}, line {number}, {found}")


def first_object(path: Path) -> dict[str, Any] | None:
    """The object in the first line of a file of JSON Lines that is not empty; ``None`` if it has none."""
    with open_text(path) as file:
        first = next((line for line in _decoded(path, file) if line.strip()), "")
    found = _parse_object(first)
    return found if isinstance(found, dict) else None


class CsvSource(Source):
    """CSV with a header."""

    def _check(self, path: Path) -> None:
        with open_text(path) as file:
            self._missing(path, next(_records(path, file), []))

    def _read(self, path: Path) -> Iterator[Entry]:
        with open_text(path) as file:
            records = _records(path, file)
            names = next(records, [])
            place, kept = names.index(self.column), [names.index(name) for name in self.keep]
            for number, record in enumerate(records, 1):
                if not record:
                    continue
                if len(record) == len(names):
                    yield record[place], [record[each] for each in kept]
                else:
                    flaw = f"{path}, record {number}: there are {len(record)} fields, not {len(names)}"
                    yield Flaw(flaw), [None] * len(kept)


class ParquetSource(Source):
    """Parquet."""

    def _check(self, path: Path) -> None:
        schema = self._open(path).schema_arrow
        self._missing(path, schema.names)
        self.types = {name: schema.field(name).type for name in self.keep}

    def _open(self, path: Path) -> Any:
        pyarrow = import_pyarrow()
        from pyarrow import parquet

        open_checked(path).close()
        try:
            return parquet.ParquetFile(path)
        except (OSError, pyarrow.ArrowException) as error:
            raise OptionError(f"{path} cannot be read as Parquet: {error}") from None

    def count(self) -> int:
        return sum(self._open(path).metadata.num_rows for path in self.paths)

    def entries(self, skip: int = 0) -> Iterator[Entry]:
        for path in self.paths:
            file = self._open(path)
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                if skip >= size:  # without reading it
                    skip -= size
                    continue
                for entry in self._read_group(file, group):
                    if skip:
                        skip -= 1
                    else:
                        yield entry

    def _read_group(self, file: Any, group: int) -> Iterator[Entry]:
        names = [*dict.fromkeys([self.column, *self.keep])]
        for batch in file.iter_batches(batch_size=2**14, row_groups=[group], columns=names):
            columns = {name: batch.column(name).to_pylist() for name in names}
            kept = zip(*(columns[name] for name in self.keep), strict=True) if self.keep else [()] * batch.num_rows
            yield from zip(columns[self.column], kept, strict=True)

    def _read(self, path: Path) -> Iterator[Entry]:
        file = self._open(path)
        for group in range(file.num_row_groups):
            yield from self._read_group(file, group)


#: The kinds of files by their suffixes; all others have a prompt per line.
KINDS: dict[str, type[Source]] = {".jsonl": JsonSource, ".csv": CsvSource, ".parquet": ParquetSource}


def open_source(path: Path, column: str | None, keep: Sequence[str]) -> Source:
    """The prompts in a file, or in the files of a folder, which are read in the order of their names.

    Raises:
        OptionError: if there is no file, one cannot be read, or lacks a column, or the files are of several kinds.
    """
    paths = [path]
    if path.is_dir():
        try:
            paths = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
        except OSError as error:
            raise OptionError(f"{path} cannot be read: {error.strerror}") from None
        if not paths:
            raise OptionError(f"the folder {path} has no files; name one with prompts")
    suffixes = sorted({each.suffix.lower() for each in paths})
    if len(suffixes) > 1:
        raise OptionError(f"the folder {path} has files of several kinds: {', '.join(suffixes)}; keep one kind in it")
    kind = KINDS.get(suffixes[0], LinesSource)
    if kind is LinesSource and column is not None:
        raise OptionError(f"{paths[0]} has no columns; --column is for .csv, .jsonl and .parquet files")
    return kind(paths, column or "prompt", keep)


def open_checked(path: Path) -> Any:
    """A regular file, opened for reading.

    Raises:
        OptionError: if it is missing, is something else, or cannot be read.
    """
    try:
        return open_regular(path, OptionError)
    except OSError as error:
        raise OptionError(f"the prompts in {path} cannot be read: {error.strerror}") from None


def open_text(path: Path, newline: str | None = "") -> TextIO:
    """A text file, opened for reading; errors as :func:`open_checked`."""
    return TextIOWrapper(open_checked(path), encoding="utf-8-sig", newline=newline)


def _decoded(path: Path, lines: TextIO) -> Iterator[str]:
    """Yields the lines of a file."""
    try:
        yield from lines
    except UnicodeDecodeError:
        raise OptionError(f"the prompts in {path} are not UTF-8 text; save them as UTF-8") from None
    except OSError as error:
        raise OptionError(f"the prompts in {path} cannot be read: {error.strerror}") from None


def _records(path: Path, file: TextIO) -> Iterator[list[str]]:
    """Yields the records of a CSV file."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield from csv.reader(_decoded(path, file), strict=True)
    except csv.Error as error:
        raise OptionError(f"{path} is not a CSV file: {error}; save it with quotes around texts") from None


def _parse_object(line: str) -> dict[str, Any] | str:
    """The object that a line of JSON has, or what is wrong with it."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return "is not JSON"
    return found if isinstance(found, dict) else "is not a JSON object"


def _describe(path: Path) -> dict[str, Any]:
    with open_checked(path) as file:
        digest = sha256(file.read(ENDS))
        size = file.seek(0, 2)
        file.seek(max(0, size - ENDS))
        digest.update(file.read(ENDS))
    return {"bytes": size, "sha256_of_ends": digest.hexdigest()}
