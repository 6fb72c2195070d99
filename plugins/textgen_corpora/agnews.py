"""The corpus ``agnews``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field

from textgen import Layout, Source, notice
from textgen.errors import CorpusError, UnavailableError
from textgen.options import Options
from textgen_corpora.cache import at_hand, obtain
from textgen_corpora.published import PublishedCorpus
from textgen_corpora.reading import not_blank, read_pieces
from textgen_corpora.tables.delimited import Dialect, read_rows
from textgen_corpora.text_files.cleaning import Change, backslashes_to_blanks, changed, unescape_html

_FOLDER = "https://raw.githubusercontent.com/mhjabreel/CharCnn_Keras/master/data/ag_news_csv"

TRAIN = Source(
    file="agnews/train.csv",
    addresses=(f"{_FOLDER}/train.csv",),
    sha256="76a0a2d2f92b286371fe4d4044640910a04a803fdd2538e0f3f29a5c6f6b672e",
)
TEST = Source(
    file="agnews/test.csv",
    addresses=(f"{_FOLDER}/test.csv",),
    sha256="521465c2428ed7f02f8d6db6ffdd4b5447c1c701962353eb2c40d548c3c85699",
)


#: The names of the classes, whose numbers begin with 1.
CLASSES = ("World", "Sports", "Business", "Sci/Tech")


class AgNewsOptions(Options):
    """Options of :class:`AgNews`."""

    field: Literal["title", "description", "both"] = Field(
        "title", description="Text of each document; both: 'title. description', without the full stop after ? or !."
    )
    split: Literal["auto", "train", "test"] = Field(
        "auto",
        description="train: 120,000 rows; test: 7,600 rows; auto: train, or test if only test is at hand.",
    )
    label: Literal["class"] | None = Field(
        None, description="class: the label of each document is World, Sports, Business or Sci/Tech."
    )
    unescape_html: bool = Field(
        False, description="Replace HTML entities, such as &lt;, and the broken ones of this corpus, such as  #39;."
    )
    backslash_breaks: bool = Field(
        False, description="Replace backslashes, which this corpus has for line breaks, by blanks."
    )


class AgNews(PublishedCorpus):
    """AG News: titles and descriptions of news articles, each exactly as in the file unless options change it.

    A header row, as in the copies of Kaggle, is left out.

    ``split="auto"`` is resolved when the text is first read or fetched.
    """

    Options = AgNewsOptions
    options: AgNewsOptions
    licence = "for research and other non-commercial use"
    homepage = "http://www.di.unipi.it/~gulli/AG_corpus_of_news_articles.html"

    @property
    def sources(self) -> tuple[Source, ...]:
        if self.options.split == "auto":
            only_test = at_hand(TEST, self.data_dir) and not at_hand(TRAIN, self.data_dir)
            return (TEST if only_test else TRAIN,)
        return (TRAIN if self.options.split == "train" else TEST,)

    @property
    def layout(self) -> Layout:
        return "documents"

    @property
    def is_labelled(self) -> bool:
        return self.options.label is not None

    def documents(self) -> Iterator[str]:
        return not_blank(self._path, (self._text(cells) for cells in self._rows()))

    def labelled_documents(self) -> Iterator[tuple[str, str]]:
        for cells in self._rows():
            if (text := self._text(cells)).strip():
                yield CLASSES[int(cells[0]) - 1], text

    @property
    def settled_options(self) -> AgNewsOptions:
        return self.options.model_copy(update={"split": "test" if self._path.name == Path(TEST.file).name else "train"})

    def fetch(self) -> list[Path]:
        return [self._path]

    @cached_property
    def _path(self) -> Path:
        """The file; cached, so that a machine without a network waits for a time-out only once."""
        if self.options.split != "auto":
            return obtain(self.sources[0], self.data_dir)
        try:
            return obtain(TRAIN, self.data_dir)
        except UnavailableError:
            if at_hand(TEST, self.data_dir) is None:
                raise
            notice("agnews: the train split cannot be downloaded; using the test split, which is at hand")
            return obtain(TEST, self.data_dir)

    def _rows(self) -> Iterator[list[str]]:
        """Yields class, title and description of each article.

        Raises:
            CorpusError: at a row that is not one.
        """
        for row in read_rows(read_pieces(self._path), Dialect()):
            if row.line == 1 and row.fault is None and not row.value[0].strip().isdecimal():
                continue  # a header
            fault = row.fault
            if fault is None and len(row.value) != 3:
                fault = f" has {len(row.value)} columns instead of class, title and description"
            if fault is None and self.is_labelled and row.value[0] not in ("1", "2", "3", "4"):
                fault = f" has the class {row.value[0]!r}, which is not a number from 1 to 4"
            if fault is not None:
                raise CorpusError(f"{self._path}, line {row.line}{fault}; delete the file to get the published one")
            yield row.value

    def _text(self, cells: list[str]) -> str:
        _, title, description = (changed(cell, self._changes) for cell in cells)
        match self.options.field:
            case "title":
                return title
            case "description":
                return description
            case "both":
                title = title.rstrip()
                return f"{title}{'' if title.endswith(('.', '?', '!')) else '.'} {description}"

    @property
    def _changes(self) -> tuple[Change, ...]:
        """The changes to each text, in their order."""
        entities = (unescape_html,) if self.options.unescape_html else ()
        return (*entities, backslashes_to_blanks) if self.options.backslash_breaks else entities
