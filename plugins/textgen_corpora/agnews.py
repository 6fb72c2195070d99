"""The corpus ``agnews``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field

from textgen import Layout, Source, notice
from textgen.errors import UnavailableError
from textgen.options import Options
from textgen_corpora.cache import at_hand, obtain
from textgen_corpora.published import PublishedCorpus
from textgen_corpora.reading import csv_cell, csv_rows, not_blank, read_pieces

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


class AgNewsOptions(Options):
    """Options of :class:`AgNews`."""

    field: Literal["title", "description", "both"] = Field(
        "title", description="Text of each document; both: 'title. description', without the full stop after ? or !."
    )
    split: Literal["auto", "train", "test"] = Field(
        "auto",
        description="train: 120,000 rows; test: 7,600 rows; auto: train, or test if only test is at hand.",
    )


class AgNews(PublishedCorpus):
    """AG News: titles and descriptions of news articles, each exactly as in the file.

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

    def documents(self) -> Iterator[str]:
        rows = csv_rows(self._path, read_pieces(self._path))
        return not_blank(self._path, (self._text(line, row) for line, row in rows))

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

    def _text(self, line: int, row: list[str]) -> str:
        title, description = (csv_cell(self._path, line, row, column) for column in (1, 2))
        match self.options.field:
            case "title":
                return title
            case "description":
                return description
            case "both":
                title = title.rstrip()
                return f"{title}{'' if title.endswith(('.', '?', '!')) else '.'} {description}"
