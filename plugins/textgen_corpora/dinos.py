"""The corpora ``dinos`` and ``dinos-lite``."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

from textgen import Corpus, Layout, Provenance, Source
from textgen_corpora.published import PublishedCorpus
from textgen_corpora.reading import not_blank, read_pieces
from textgen_corpora.text_files.layouts import split_lines

SOURCE = Source(
    file="dinos.txt",
    addresses=("https://raw.githubusercontent.com/vbvsharma/text-generation-with-an-rnn/master/dinos.txt",),
    sha256="0704eb65c34137226ad13023cfaa77edf70222aaaf3e2a926b9b791a25b025f6",
)


class Dinos(PublishedCorpus):
    """1,543 dinosaur names, one per document, without line ends; 52 distinct characters."""

    licence = "a list of names, as published in its repository"
    homepage = "https://github.com/vbvsharma/text-generation-with-an-rnn"

    @property
    def sources(self) -> tuple[Source, ...]:
        return (SOURCE,)

    @property
    def layout(self) -> Layout:
        return "documents"

    def documents(self) -> Iterator[str]:
        (path,) = self.fetch()
        return not_blank(path, split_lines(read_pieces(path)))


class DinosLite(Corpus):
    """Names of published dinosaur genera, in alphabetical order, embedded in this package."""

    @property
    def layout(self) -> Layout:
        return "documents"

    def documents(self) -> Iterator[str]:
        yield from files("textgen_corpora").joinpath("dinos_lite.txt").read_text("utf-8").split()

    def provenance(self) -> Provenance:
        return Provenance((), licence="CC0-1.0: a list of names compiled for textgen")
