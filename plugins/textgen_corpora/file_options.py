"""The options of the corpus ``file``."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from textgen.options import Options, set_arguments
from textgen_corpora.text_files.paths import STDIN, is_one_file

#: The format of a file by its suffix; every other suffix is for plain text.
FORMATS = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}

#: The formats whose cells have delimiters, each with the one that needs no mention.
DELIMITED = {"csv": ",", "tsv": "\t"}

#: Labels that come from where a file is, and not from a column.
PLACES = ("filename", "folder")

#: Options that only tables have, and those that only delimited tables have, with their defaults.
_OF_TABLES = {"column": None, "on_bad_row": "error"}
_OF_DELIMITED = {"delimiter": "auto", "quote": '"', "escape": None}


class FileOptions(Options):
    """Options of :class:`textgen_corpora.file.File`."""

    path: Path | tuple[Path, ...] = Field(
        description="The file, or several: a list, a pattern such as 'texts/*.txt', a folder (its text files and those "
        "in its folders, sorted by name), - for standard input, or a pipe. May be compressed with gzip.",
    )
    format: Literal["auto", "text", "csv", "tsv", "json", "jsonl"] = Field(
        "auto", description="auto: by suffix: .csv, .tsv, .tab, .json, .jsonl, .ndjson; text for every other name."
    )
    layout: Literal["auto", "stream", "lines", "paragraphs", "files"] = Field(
        "auto",
        description="stream: one long text; lines: a document per line, or row of a table; paragraphs: documents with "
        "blank lines between them; files: a document per file; auto: stream for text, else lines.",
    )
    column: int | str | None = Field(
        None,
        description="The text of each row: the name of its column or key, or, if a delimited table has no header, the "
        "number of the column from 0. By default 'text'.",
    )
    label: int | str | None = Field(
        None,
        description="The label of each document: a column, named as the text's is; filename: the name of its file "
        "without suffix; folder: the name of the folder that its file is in.",
    )
    encoding: str = Field(
        "auto",
        description="Encoding, by its name in Python: utf-8, latin-1, cp1252, utf-16. auto: utf-8, or the one that "
        "the byte-order mark of a file declares.",
    )
    drop_nul: bool = Field(False, description="Leave out NUL characters, which are an error otherwise.")
    delimiter: str = Field(
        "auto", description="Between cells: a character, or tab. auto: , ; | or tab, whichever fits the first rows."
    )
    quote: str | None = Field('"', description="Around cells that contain delimiters; none: cells have no quotes.")
    escape: str | None = Field(None, description="Before a character that is taken as it is, such as \\; none: none.")
    on_bad_row: Literal["error", "skip"] = Field(
        "error", description="skip: leave out rows that cannot be read or have no text, and report how many."
    )
    unescape_html: bool = Field(
        False, description="Replace HTML entities, such as &lt; and &#39;, also as AG News has them ( lt; and  #39;)."
    )
    backslash_breaks: bool = Field(
        False, description="Replace a backslash and n by a line break, and any other backslash by a blank."
    )
    normalize: Literal["nfc"] | None = Field(
        None, description="nfc: join letters and their accents to one character where there is one; prompts, too."
    )

    @field_validator("path", mode="before")
    @classmethod
    def _names_something(cls, value: Any) -> Any:
        values = value if isinstance(value, list | tuple) else [value]
        if not values or "" in values:
            raise ValueError("name a file, a folder or a pattern")
        # As paths, ./- and - are the same.
        values = [
            os.path.abspath(each) if isinstance(each, str) and each != "-" and Path(each) == STDIN else each
            for each in values
        ]
        return tuple(values) if isinstance(value, list | tuple) else values[0]

    @field_validator("encoding")
    @classmethod
    def _encoding_exists(cls, value: str) -> str:
        try:
            b"a".decode("utf-8" if value == "auto" else value)
        except UnicodeError:
            pass  # it exists; a single byte is not a character of it
        except LookupError:
            raise ValueError("unknown encoding; there are utf-8, latin-1, cp1252, utf-16 and others") from None
        return value

    @field_validator("delimiter", "quote", "escape")
    @classmethod
    def _one_character(cls, value: str | None) -> str | None:
        if value in ("tab", "\\t"):
            return "\t"
        if value not in (None, "auto") and (len(value) != 1 or value in "\r\n"):
            raise ValueError("a single character is needed")
        return value

    @model_validator(mode="after")
    def _fits_formats(self) -> Self:
        if all(map(is_one_file, self.paths)):  # the others are known when they are found
            self.check({self.format_of(path) for path in self.paths}, self.paths)
        return self

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths as given, one or several."""
        return self.path if isinstance(self.path, tuple) else (self.path,)

    def format_of(self, path: Path) -> str:
        """The format of a file; ``auto`` is settled by its suffix, apart from that of gzip."""
        if self.format != "auto":
            return self.format
        name = path.name.lower().removesuffix(".gz")
        return FORMATS.get(Path(name).suffix, "text")

    def check(self, formats: set[str], paths: Iterable[Path], examples: str = "") -> None:
        """Checks that the options suit the formats of the files.

        Args:
            formats: of the files.
            paths: the files, as commands are to name them.
            examples: what follows the name of the formats, such as a file of each.

        Raises:
            ValueError: if one does nothing, or contradicts them; the message ends with a command.
        """
        is_text = formats == {"text"}
        tables = " and ".join(sorted(formats - {"text"}))
        is_place = self.label in PLACES
        in_stream = self.layout in ("auto", "stream")
        of_tables = [*_OF_TABLES, *_OF_DELIMITED, *([] if is_place else ["label"])]
        layout = {"layout": "lines"} if is_place and in_stream else {}
        as_text = self.command(paths, without=of_tables, format="text", **layout)
        if "text" in formats and not is_text:
            raise ValueError(
                f"text and {tables} files cannot be one corpus{examples}; name files of one kind, "
                f"or set format to read all as text: {as_text}"
            )
        if is_text and self.column is not None:
            as_table = self.command(paths, without=["layout"], format="csv")
            raise ValueError(
                f"a text file has no columns{examples}; leave column out, or read it as a table, as csv, tsv, json or "
                f"jsonl: {as_table}"
            )
        if not is_text and self.layout not in ("auto", "lines"):
            raise ValueError(f"{tables} has documents{examples}; leave layout out, or read the file as text: {as_text}")
        if is_text and self.label is not None and in_stream:
            changes = {"layout": "files"} if is_place else {"layout": "files", "label": "filename"}
            raise ValueError(
                f"label is for documents, not for a stream{examples}; set layout to lines, paragraphs or files: "
                f"{self.command(paths, **changes)}"
            )
        if is_text and self.label is not None and not is_place:
            raise ValueError(
                f"the label of text files{examples} is filename or folder: {self.command(paths, label='filename')}"
            )
        defaults = {**(_OF_TABLES if is_text else {}), **({} if formats & set(DELIMITED) else _OF_DELIMITED)}
        if unused := [name for name, default in defaults.items() if getattr(self, name) != default]:
            raise ValueError(
                f"{' and '.join(unused)} {'does' if len(unused) == 1 else 'do'} nothing for {tables or 'text'}"
                f"{examples}; leave {'it' if len(unused) == 1 else 'them'} out, or set format: "
                f"{self.command(paths, without=unused)}"
            )

    def command(self, paths: Iterable[Path], *, without: Iterable[str] = (), **changes: str) -> str:
        """A command that trains on the same text with other options.

        Args:
            paths: the files, as they are to be named.
            without: options to leave out.
            **changes: the other options.
        """
        given = self.model_dump(mode="json", exclude={"path"}, exclude_defaults=True)
        chosen = {name: value for name, value in given.items() if name not in without} | changes
        options = {name: "tab" if value == "\t" else value for name, value in chosen.items()}  # a tab cannot be typed
        return shlex.join(["textgen", "train", *map(str, paths), *set_arguments("corpus", options)])
