"""The corpus ``file``: the user's own text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from textgen import Corpus, Layout, Provenance, Source, cache_folder, notice
from textgen.errors import CorpusError, OptionError
from textgen_corpora.file_options import DELIMITED, PLACES, FileOptions
from textgen_corpora.reading import no_text, not_all_blank, read_pieces, settled_encoding
from textgen_corpora.tables.bad_rows import BadRows, Row
from textgen_corpora.tables.columns import DEFAULT, Columns, Labelled, column_instead, texts_of_cells, texts_of_values
from textgen_corpora.tables.delimited import Dialect, looks_like_table, read_rows, sniff_delimiter
from textgen_corpora.tables.json_rows import read_lines, read_values
from textgen_corpora.text_files.cleaning import (
    Change,
    backslashes_to_breaks,
    changed,
    changed_stream,
    nfc,
    unescape_html,
)
from textgen_corpora.text_files.encodings import is_wide
from textgen_corpora.text_files.layouts import has_short_lines, joined, split_lines, split_paragraphs
from textgen_corpora.text_files.paths import FoundFile, find_files, is_one_file, is_pipe

#: Characters of a file by which its delimiter, or whether it is a list, is recognised.
_HEAD = 1 << 16

#: More labels than this, in more than half of the documents, are reported.
_MANY_LABELS = 100


@dataclass(frozen=True)
class TextFile:
    """A file of the corpus, and how it is read.

    Attributes:
        path: where it is.
        name: its name in messages.
        format: one of the formats, none of them ``auto``.
        encoding: its encoding.
        delimiter: between its cells; ``None`` if it has none.
    """

    path: Path
    name: str
    format: str
    encoding: str
    delimiter: str | None = None


class File(Corpus):
    """The user's own text: a stream, or documents from lines, paragraphs, files or rows. Blank ones are left out."""

    Options = FileOptions
    options: FileOptions

    #: The number of bad rows that the last reading has left out.
    _bad_rows = 0

    @property
    def layout(self) -> Layout:
        return "stream" if self._layout == "stream" else "documents"

    @property
    def is_labelled(self) -> bool:
        return self.options.label is not None

    @property
    def normalization(self) -> Literal["NFC"] | None:
        return "NFC" if self.options.normalize == "nfc" else None

    def documents(self) -> Iterator[str]:
        if self.layout == "stream":
            return self._stream()
        return (text for _, text in self._documents())

    def labelled_documents(self) -> Iterator[tuple[str, str]]:
        for label, text in self._documents():
            assert label is not None  # the option is set
            yield label, text

    def provenance(self) -> Provenance:
        return Provenance(tuple(Source(file.path.name) for file in self._found), licence="the user's own")

    @property
    def settled_options(self) -> FileOptions:
        """The files that were found, and what was recognised, where it is the same for all of them."""
        paths = tuple(file.path.absolute() for file in self._found)
        recognised = {
            "format": {file.format for file in self._files},
            "encoding": {file.encoding for file in self._files},
            "delimiter": {file.delimiter for file in self._files if file.delimiter is not None},
        }
        alike = {name: values.pop() for name, values in recognised.items() if len(values) == 1}
        found = {"path": paths if len(paths) > 1 else paths[0], "layout": self._layout, **alike}
        return self.options.model_copy(update=found)

    @property
    def findings(self) -> dict[str, Any]:
        return {"bad_rows": self._bad_rows} if self._bad_rows else {}

    def fetch(self) -> list[Path]:
        for file in self._found:
            if not file.path.is_file():
                raise CorpusError(f"{file.name} is not a file; check the path")
        return [file.path for file in self._found]

    @property
    def _layout(self) -> str:
        """The layout; ``auto`` is settled by the format of the files."""
        are_known = all(map(is_one_file, self.options.paths))
        paths = self.options.paths if are_known else [file.path for file in self._found]  # which checks the options
        if self.options.layout != "auto":
            return self.options.layout
        return "stream" if all(self.options.format_of(path) == "text" for path in paths) else "lines"

    @cached_property
    def _found(self) -> list[FoundFile]:
        """The files; found once, because a pipe can be read only once."""
        options = self.options
        wide = options.encoding != "auto" and is_wide(options.encoding)
        found = find_files(options.paths, self.data_dir, form=options.format, wide=wide)
        first: dict[str, str] = {}
        for file in found:
            first.setdefault(options.format_of(file.path), file.name)
        paths = [file.path for file in found] if any(map(is_pipe, options.paths)) else options.paths
        try:
            options.check(set(first), paths, f" ({', '.join(first.values())})")
        except ValueError as error:
            raise OptionError(f"corpus: {error}") from None
        return found

    @cached_property
    def _files(self) -> list[TextFile]:
        """The files, and how each is read."""
        files = [self._recognise(file) for file in self._found]
        if self.options.encoding == "auto":
            self._report({file.name: file.encoding for file in files if file.encoding != "utf-8"}, "read as {} text")
        if self.options.delimiter == "auto":
            delimiters = {
                file.name: "tab" if file.delimiter == "\t" else file.delimiter
                for file in files
                if file.delimiter is not None and file.delimiter != DELIMITED[file.format]
            }
            self._report(delimiters, "read with the delimiter {}")
        return files

    def _recognise(self, found: FoundFile) -> TextFile:
        options = self.options
        encoding = settled_encoding(found.path, found.name, options.encoding)
        file = TextFile(found.path, found.name, options.format_of(found.path), encoding)
        if file.format not in DELIMITED:
            return file
        delimiter = options.delimiter
        if delimiter == "auto":
            dialect = Dialect(DELIMITED[file.format], options.quote, options.escape)
            delimiter = sniff_delimiter(self._head(file), dialect, self._columns.names)
        return replace(file, delimiter=delimiter)

    @staticmethod
    def _report(found: dict[str, str], what: str) -> None:
        """Reports how files are read, once per way of reading."""
        for value in dict.fromkeys(found.values()):
            first, *more = (name for name, other in found.items() if other == value)
            count = f" and {len(more):,} more" if more else ""
            notice(f"{first}{count}: {what.format(value)}", once=True)

    def _stream(self) -> Iterator[str]:
        if self.options.layout == "auto":
            self._suggest_another_reading()
        text = joined(self._pieces(file) for file in self._files)
        return not_all_blank(self._name, changed_stream(text, self._changes))

    def _suggest_another_reading(self) -> None:
        """Reports that a text looks like a list, or, if it has no suffix, like a table."""
        file, head = self._files[0], self._head(self._files[0])
        is_unnamed = self.options.format == "auto" and len(self._files) == 1 and is_pipe(self.options.paths[0])
        if is_unnamed and (as_table := self._as_table(head)):
            condition, changes = "if it is a table", as_table
        elif has_short_lines(head):
            condition, changes = "if each of its lines is a text of its own", {"layout": "lines"}
        else:
            return
        is_passed = file.path.parent == cache_folder() / "texts" and not is_pipe(self.options.paths[0])
        advice = "in Python, pass text=TEXT.splitlines(); otherwise " if is_passed else ""
        notice(f"{file.name} is read as one long text; {condition}: {advice}{self._command(**changes)}", once=True)

    def _as_table(self, head: str) -> dict[str, str] | None:
        """The options that read a text as a table, if its first characters look like one."""
        column: str | int | None = DEFAULT
        value = next((row.value for row in read_lines([head])), None)
        if isinstance(value, dict):
            form = "jsonl"
            texts = {key: each for key, each in value.items() if isinstance(each, str)}
            if DEFAULT not in value:
                column = self._columns.instead(DEFAULT, texts)
        elif looks_like_table(head):
            form = "csv"
            delimiter = sniff_delimiter(head, Dialect(), [DEFAULT])
            rows = [row.value for row in read_rows([head], Dialect(delimiter)) if row.fault is None]
            cells = [cell.strip() for cell in rows[0]] if len(rows) > 1 else [DEFAULT]
            if DEFAULT not in cells:
                column = column_instead(DEFAULT, cells, rows[1], self._columns)
        else:
            return None
        return {"format": form} | ({} if column in (DEFAULT, None) else {"column": str(column)})

    def _documents(self) -> Iterator[Labelled]:
        """Yields label, if there is one, and text of the documents that are not blank."""
        bad = BadRows(self.options.on_bad_row == "skip", lambda: self._command(on_bad_row="skip"))
        changes = self._changes
        count = 0
        labels: set[str] = set()
        for file in self._files:
            for found, text in self._cut(file, bad):
                document = changed(text, changes) if changes else text
                if document.strip():
                    count += 1
                    # Labels are typed by users, on one line; names of files may be in another normal form.
                    label = None if found is None else nfc(" ".join(found.split()))
                    if label is not None:
                        labels.add(label)
                    yield label, document
        self._bad_rows = bad.count
        if not count:
            raise no_text(self._name, bad.summary())
        if bad.count:
            notice(bad.summary(), once=True)
        if len(labels) > max(_MANY_LABELS, count / 2):
            notice(
                f"corpus.label={self.options.label} gives {count:,} texts {len(labels):,} labels; a label is learned "
                f"from the texts that have it in common, such as those of a class",
                once=True,
            )

    def _cut(self, file: TextFile, bad: BadRows) -> Iterator[Labelled]:
        if file.format == "text":
            found: Iterator[Labelled] = ((None, text) for text in self._documents_of(self._pieces(file)))
        elif file.format in DELIMITED:
            found = texts_of_cells(file.name, self._rows(file), self._columns, bad)
        else:
            found = texts_of_values(file.name, self._rows(file), self._columns, bad)
        if self.options.label not in PLACES:
            return found
        path = file.path.absolute()
        label = path.parent.name if self.options.label == "folder" else Path(path.name.removesuffix(".gz")).stem
        return ((label, text) for _, text in found)

    def _rows(self, file: TextFile) -> Iterator[Row]:
        """Yields the rows of a table."""
        pieces = self._pieces(file)
        if file.format == "json":
            return read_values(file.name, pieces)
        if file.format == "jsonl":
            return read_lines(pieces)
        assert file.delimiter is not None
        return read_rows(pieces, Dialect(file.delimiter, self.options.quote, self.options.escape))

    def _shared_columns(self) -> set[str] | None:
        """The columns or keys that the first rows of all tables have; ``None`` if there is only one table."""
        if len(self._files) == 1:
            return None
        firsts = [next((row.value for row in self._rows(file) if row.fault is None), None) for file in self._files]
        return set.intersection(
            *({name.strip() for name in first} if isinstance(first, list | dict) else set() for first in firsts)
        )

    def _documents_of(self, pieces: Iterator[str]) -> Iterable[str]:
        match self._layout:
            case "lines":
                return split_lines(pieces)
            case "paragraphs":
                return split_paragraphs(pieces)
            case _:
                return ["".join(pieces).removesuffix("\n")]

    def _pieces(self, file: TextFile) -> Iterator[str]:
        return read_pieces(
            file.path, file.encoding, name=file.name, drop_nul=self.options.drop_nul, command=self._command
        )

    def _head(self, file: TextFile) -> str:
        """The first characters of a file."""
        head = ""
        for piece in self._pieces(file):
            head += piece[:_HEAD]
            if len(head) >= _HEAD:
                break
        return head[:_HEAD]

    @property
    def _columns(self) -> Columns:
        text, label = self.options.column, self.options.label
        return Columns(
            text=None if text is None else str(text),
            label=None if label is None or label in PLACES else str(label),
            drop_nul=self.options.drop_nul,
            command=self._command,
            shared=self._shared_columns,
        )

    @property
    def _changes(self) -> tuple[Change, ...]:
        """The changes to each text, in their order."""
        options = self.options
        chosen = (
            (options.unescape_html, unescape_html),
            (options.backslash_breaks, backslashes_to_breaks),
            (options.normalize == "nfc", nfc),
        )
        return tuple(change for is_chosen, change in chosen if is_chosen)

    @property
    def _name(self) -> str:
        """The name of the whole text in messages."""
        more = len(self._found) - 1
        return self._found[0].name + (f" (with {more:,} more)" if more else "")

    def _command(self, **changes: str) -> str:
        """A command that trains on the same text with other options."""
        paths = self.options.paths
        if any(is_pipe(path) for path in paths):  # they cannot be read again
            paths = tuple(file.path for file in self._found)
        return self.options.command(paths, **changes)
