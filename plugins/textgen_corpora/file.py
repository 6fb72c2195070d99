"""The corpus ``file``: the user's own text."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from textgen import Corpus, Layout, Provenance, Source
from textgen.errors import CorpusError, suggestion
from textgen.options import Options
from textgen_corpora.reading import csv_cell, csv_rows, not_all_blank, not_blank, read_pieces, split_lines

_FORMATS = {".csv": "csv", ".jsonl": "jsonl"}


class FileOptions(Options):
    """Options of :class:`File`."""

    path: Path = Field(description="The file.")
    format: Literal["auto", "text", "csv", "jsonl"] = Field(
        "auto", description="auto: csv for .csv, jsonl for .jsonl, text for every other name."
    )
    layout: Literal["auto", "stream", "lines"] = Field(
        "auto",
        description="stream: one long text; lines: one document per line or row; auto: stream for text, else lines.",
    )
    column: int | str | None = Field(
        None,
        description="The text of each row. JSONL: its key. CSV: the name of its column in the header, or, if the file "
        "has no header, the number of the column from 0. By default 'text'.",
    )
    encoding: str = Field(
        "utf-8", description="Encoding of the file, by its name in Python: utf-8, latin-1, cp1252, utf-16."
    )

    @field_validator("encoding")
    @classmethod
    def _encoding_exists(cls, value: str) -> str:
        try:
            b"a".decode(value)
        except UnicodeDecodeError:
            pass  # it exists; a single byte is not a character of it
        except LookupError:
            raise ValueError("unknown encoding; there are utf-8, latin-1, cp1252, utf-16 and others") from None
        return value

    @model_validator(mode="after")
    def _fits_format(self) -> Self:
        if self.resolved_format == "text" and self.column is not None:
            raise ValueError("a text file has no columns; leave column out, or set format to csv or jsonl")
        if self.resolved_format != "text" and self.layout == "stream":
            raise ValueError(f"{self.resolved_format} has documents; leave layout out, or set format to text")
        return self

    @property
    def resolved_format(self) -> str:
        """The format; ``auto`` is resolved by the suffix of the file."""
        return _FORMATS.get(self.path.suffix.lower(), "text") if self.format == "auto" else self.format


class File(Corpus):
    """The user's own text: a stream, lines, or a column of CSV or JSONL. Blank documents are skipped."""

    Options = FileOptions
    options: FileOptions

    @property
    def layout(self) -> Layout:
        stream = self.options.resolved_format == "text" and self.options.layout != "lines"
        return "stream" if stream else "documents"

    def documents(self) -> Iterator[str]:
        pieces = read_pieces(self._path, self.options.encoding)
        if self.layout == "stream":
            return not_all_blank(self._path, pieces)
        return not_blank(self._path, self._cut(pieces))

    def _cut(self, pieces: Iterator[str]) -> Iterator[str]:
        column = "text" if self.options.column is None else str(self.options.column)
        match self.options.resolved_format:
            case "csv":
                return _csv_column(self._path, pieces, column)
            case "jsonl":
                return _jsonl_values(self._path, pieces, column)
            case _:
                return split_lines(pieces)

    def provenance(self) -> Provenance:
        return Provenance((Source(self.options.path.name),), licence="the user's own")

    @property
    def settled_options(self) -> FileOptions:
        return self.options.model_copy(update={"path": self._path.absolute()})

    def fetch(self) -> list[Path]:
        if not self._path.is_file():
            raise CorpusError(f"{self._path} is not a file; check the path")
        return [self._path]

    @property
    def _path(self) -> Path:
        """The file; if it does not exist, the file of that name in the data folder."""
        path = Path(os.path.expanduser(self.options.path))
        if self.data_dir is not None and not path.exists() and (self.data_dir / path.name).is_file():
            return self.data_dir / path.name
        return path


def _csv_column(path: Path, pieces: Iterator[str], column: str) -> Iterator[str]:
    rows = csv_rows(path, pieces)
    if column.isdecimal():
        index = int(column)
    else:
        first = next(rows, None)
        if first is None:
            return
        _, header = first
        if column not in header:
            raise CorpusError(
                f"{path} has no column {column!r} in its first row; {suggestion(column, header)} "
                f"(--set corpus.column=NAME, or =NUMBER if it has no header)"
            )
        index = header.index(column)
    for line, row in rows:
        yield csv_cell(path, line, row, index)


def _jsonl_values(path: Path, pieces: Iterator[str], key: str) -> Iterator[str]:
    for number, line in enumerate(split_lines(pieces), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{where} is not JSON: {error}") from None
        if not isinstance(record, dict):
            raise CorpusError(f"{where} is not a JSON object, such as {{{json.dumps(key)}: ...}}")
        if key not in record:
            raise CorpusError(f"{where} has no key {key!r}; {suggestion(key, record)} (--set corpus.column=KEY)")
        value = record[key]
        if not isinstance(value, str):
            raise CorpusError(f"{where}: the value of {key!r} is not a string")
        if re.search("[\ud800-\udfff]", value):
            raise CorpusError(
                f"{where}: the value of {key!r} contains half of a surrogate pair, which is not a character"
            )
        yield value
