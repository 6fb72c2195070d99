"""The Corpus interface: where text comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from textgen.options import Options as BaseOptions

#: ``stream``: one long text. ``documents``: many short ones, each with an end of its own.
Layout = Literal["stream", "documents"]


@dataclass(frozen=True)
class Source:
    """A file that a corpus reads.

    Attributes:
        file: its path below the data folder, with ``/`` between parts.
        addresses: where it can be downloaded, the preferred one first; empty for the user's own file.
        sha256: of the published file; ``None`` where nothing was published.
    """

    file: str
    addresses: tuple[str, ...] = ()
    sha256: str | None = None


@dataclass(frozen=True)
class Provenance:
    """Where a corpus comes from, and under which terms."""

    sources: tuple[Source, ...]
    licence: str
    homepage: str = ""


class Corpus(ABC):
    """Text to train on. A plugin subclasses this, and :class:`~textgen.options.Options` for its options.

    Args:
        options: an instance of the class attribute ``Options``.
        data_dir: a folder that is searched for the corpus's files before anything is downloaded.

    Example:
        >>> class Greetings(Corpus):
        ...     layout = "documents"
        ...     def documents(self):
        ...         yield from ("hello", "good morning")
        ...     def provenance(self):
        ...         return Provenance((), "public domain")
        >>> list(Greetings(Greetings.Options()).documents())
        ['hello', 'good morning']
    """

    Options: ClassVar[type[BaseOptions]] = BaseOptions

    def __init__(self, options: BaseOptions, data_dir: Path | None = None) -> None:
        self.options = options
        self.data_dir = data_dir

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """``"stream"`` or ``"documents"``; it decides the defaults of training and generation."""

    @abstractmethod
    def documents(self) -> Iterator[str]:
        """Yield the texts that the options select, in the order of the source, each time from the beginning.

        They are read more than once: for the vocabulary, then for the ids. A stream may come in several pieces, cut
        anywhere; a corpus larger than memory yields as it reads.

        Raises:
            CorpusError: where a file cannot be read.
            UnavailableError: where it is not at hand and cannot be downloaded; says which file to put where.
        """

    @property
    def settled_options(self) -> BaseOptions:
        """The options with what they left open settled, by which a run finds the same text again anywhere.

        Asked for after :meth:`documents`; the default is right where the options leave nothing open.
        """
        return self.options

    @abstractmethod
    def provenance(self) -> Provenance:
        """Addresses, hashes and licence."""

    def fetch(self) -> list[Path]:
        """Make every file that :meth:`documents` reads present on this machine; return their paths.

        The default is right for a corpus that reads no files.
        """
        return []
