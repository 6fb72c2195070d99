"""The options of the corpus ``file``."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from textgen.options import Options, set_arguments
from textgen_corpora.text_files.paths import is_one_file

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
        return tuple(value) if isinstance(value, list | tuple) else value

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
            self.check({self.format_of(path) for path in self.paths})
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

    def check(self, formats: set[str]) -> None:
        """Checks that the options suit the formats of the files.

        Raises:
            ValueError: if one does nothing, or contradicts them.
        """
        is_text = formats == {"text"}
        tables = " and ".join(sorted(formats - {"text"}))
        if "text" in formats and not is_text:
            raise ValueError(f"text and {tables} files cannot be one corpus; name files of one kind, or set format")
        if is_text and self.column is not None:
            raise ValueError("a text file has no columns; leave column out, or set format to csv or jsonl")
        if not is_text and self.layout not in ("auto", "lines"):
            raise ValueError(f"{tables} has documents; leave layout out, or set format to text")
        if is_text and self.label is not None:
            if self.layout in ("auto", "stream"):
                raise ValueError("label is for documents, not for a stream; set layout to lines, paragraphs or files")
            if self.label not in PLACES:
                raise ValueError("the label of text files is filename or folder")
        unused = {**(_OF_TABLES if is_text else {}), **({} if formats & set(DELIMITED) else _OF_DELIMITED)}
        for name, default in unused.items():
            if getattr(self, name) != default:
                raise ValueError(f"{name} does nothing for {tables or 'text'}; leave it out, or set format")

    def command(self, paths: Iterable[Path], **changes: str) -> str:
        """A command that trains on the same text with other options.

        Args:
            paths: the files, as they are to be named.
            **changes: the other options.
        """
        chosen = self.model_dump(mode="json", exclude={"path"}, exclude_defaults=True) | changes
        options = {name: "tab" if value == "\t" else value for name, value in chosen.items()}  # a tab cannot be typed
        return shlex.join(["textgen", "train", *map(str, paths), *set_arguments("corpus", options)])
