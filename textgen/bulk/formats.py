"""The formats of written texts: JSON Lines, CSV, Parquet."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from textgen.errors import UnavailableError

#: The types of columns in Parquet, by name; other columns are text.
_TYPES = {"row": "int64", "seed": "uint64", "log_probability": "float64"}


class Format(ABC):
    """A format: records are encoded by workers, and put together to files by the process that writes them."""

    #: Of file names.
    suffix: ClassVar[str]

    @abstractmethod
    def encode(self, columns: Mapping[str, Sequence[Any]]) -> Any:
        """Records of columns of the same length."""

    @abstractmethod
    def take(self, records: Any, places: Sequence[int]) -> Any:
        """Some of the records, in ascending order."""

    @abstractmethod
    def file(self, records: Sequence[Any]) -> Iterable[bytes]:
        """The content of a file of records."""

    @abstractmethod
    def joined(self, paths: Sequence[Path]) -> Iterable[bytes]:
        """The content of a file with the records of several."""

    @abstractmethod
    def read(self, path: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yields columns of each record of a file; numbers may be texts."""


class Lines(Format):
    """A format whose records are bytes, one after the other; the base of JSON Lines and CSV."""

    #: What a file begins with.
    header: bytes = b""

    def take(self, records: Any, places: Sequence[int]) -> Any:
        return [records[place] for place in places]

    def file(self, records: Sequence[Any]) -> Iterable[bytes]:
        yield self.header
        for some in records:
            yield b"".join(some)

    def joined(self, paths: Sequence[Path]) -> Iterable[bytes]:
        yield self.header
        for path in paths:
            with path.open("rb") as file:
                file.seek(len(self.header))
                while piece := file.read(2**20):
                    yield piece


class JsonLines(Lines):
    """JSON Lines, in UTF-8; values that JSON does not have are written as text."""

    suffix = ".jsonl"
    _encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str).encode

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> Any:
        fields = ", ".join(self._encode(name).replace("%", "%%") + ": %s" for name in columns)
        record = f"{{{fields}}}\n"
        values = (map(self._value, column) for column in columns.values())
        return [(record % row).encode() for row in zip(*values, strict=True)]

    def _value(self, value: Any) -> str:
        """A value in JSON; the encoder takes long to begin with a number."""
        return str(value) if type(value) is int else self._encode(value)

    def read(self, path: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        with path.open(encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                yield tuple(record[name] for name in columns)


class Csv(Lines):
    """CSV as of RFC 4180 but for its line ends, in UTF-8, with a header.

    Args:
        names: of the columns.
    """

    suffix = ".csv"

    def __init__(self, names: Sequence[str]) -> None:
        self.header = self.encode({name: [name] for name in names})[0]

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> Any:
        records = []
        for row in zip(*columns.values(), strict=True):
            line = io.StringIO()
            csv.writer(line, lineterminator="\n").writerow(row)
            records.append(line.getvalue().encode())
        return records

    def read(self, path: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        with path.open(encoding="utf-8", newline="") as file:
            for record in csv.DictReader(file):
                yield tuple(record[name] for name in columns)


class Parquet(Format):
    """Parquet; records are tables of pyarrow.

    Args:
        names: of the columns.
        types: of columns that come from Parquet files.
        about: kept in the file's metadata, under ``textgen``.
    """

    suffix = ".parquet"

    def __init__(self, names: Sequence[str], types: Mapping[str, Any], about: str) -> None:
        pyarrow = import_pyarrow()
        fields = [(name, types.get(name) or getattr(pyarrow, _TYPES.get(name, "string"))()) for name in names]
        self._schema = pyarrow.schema(fields)
        self._about = {"textgen": about}
        self._types = types

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> Any:
        pyarrow = import_pyarrow()
        plain = {
            name: values if name in self._types or name in _TYPES else [_as_text(value) for value in values]
            for name, values in columns.items()
        }
        return pyarrow.table(plain, schema=self._schema)

    def take(self, records: Any, places: Sequence[int]) -> Any:
        pyarrow = import_pyarrow()
        return records.take(pyarrow.array(list(places), pyarrow.int64()))

    def file(self, records: Sequence[Any]) -> Iterable[bytes]:
        return self._write([import_pyarrow().concat_tables(records)])

    def joined(self, paths: Sequence[Path]) -> Iterable[bytes]:
        import_pyarrow()
        from pyarrow import parquet

        return self._write(parquet.read_table(path) for path in paths)

    def _write(self, tables: Iterable[Any]) -> Iterator[bytes]:
        """The content of a file with a row group per table, in pieces."""
        pyarrow = import_pyarrow()
        from pyarrow import parquet

        pieces = _Pieces()
        with parquet.ParquetWriter(
            pyarrow.PythonFile(pieces, mode="w"), self._schema.with_metadata(self._about), compression="zstd"
        ) as writer:
            for table in tables:
                writer.write_table(table.combine_chunks())  # its chunks would be seen in the bytes
                yield pieces.taken()
        yield pieces.taken()

    def read(self, path: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        import_pyarrow()
        from pyarrow import parquet

        for batch in parquet.ParquetFile(path).iter_batches(columns=list(columns)):
            yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)


class _Pieces:
    """A file that is written, whose content is taken out in between."""

    closed = False

    def __init__(self) -> None:
        self._content = bytearray()

    def write(self, data: bytes) -> int:
        """Add to the content."""
        self._content += data
        return len(data)

    def flush(self) -> None:
        """Does nothing: all is in memory."""

    def close(self) -> None:
        """Does nothing: the rest is still to be taken."""

    def taken(self) -> bytes:
        """The content since the last call."""
        content, self._content = bytes(self._content), bytearray()
        return content


def _as_text(value: Any) -> str | None:
    """A value of JSON or CSV as a text of Parquet."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def import_pyarrow() -> Any:
    """The module ``pyarrow``.

    Raises:
        UnavailableError: if it is not installed.
    """
    try:
        import pyarrow
    except ImportError:
        raise UnavailableError('Parquet needs pyarrow: pip install "textgen-rnn[parquet]"') from None
    return pyarrow
