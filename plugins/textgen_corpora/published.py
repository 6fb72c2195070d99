"""The base class of corpora that are published on the web."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from textgen import Corpus, Provenance, Source
from textgen_corpora.cache import obtain


class PublishedCorpus(Corpus):
    """A corpus of files that are published on the web.

    Attributes:
        licence: of the text.
        homepage: of the text.
    """

    licence: ClassVar[str]
    homepage: ClassVar[str]

    @property
    @abstractmethod
    def sources(self) -> tuple[Source, ...]:
        """The files that the options select."""

    def provenance(self) -> Provenance:
        return Provenance(self.sources, self.licence, self.homepage)

    def fetch(self) -> list[Path]:
        return [obtain(source, self.data_dir) for source in self.sources]
