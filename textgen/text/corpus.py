"""The Corpus interface: a source of text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from textgen.base import html
from textgen.options import Options as BaseOptions

#: ``stream``: one long text. ``documents``: many short texts, each with its own end.
Layout = Literal["stream", "documents"]


@dataclass(frozen=True)
class Source:
    """A file that a corpus reads.

    Attributes:
        file: the path within the data folder, with ``/`` between its parts.
        addresses: the URLs to download it from, the preferred one first; empty for the user's own file.
        sha256: the SHA-256 of the published file; ``None`` if it is not published.
    """

    file: str
    addresses: tuple[str, ...] = ()
    sha256: str | None = None


@dataclass(frozen=True)
class Provenance:
    """The origin of a corpus, and its licence."""

    sources: tuple[Source, ...]
    licence: str
    homepage: str = ""


class Corpus(ABC):
    """Text to train on. A plugin subclasses this class, and :class:`~textgen.options.Options` for its options.

    Args:
        options: an instance of the class attribute ``Options``.
        data_dir: a folder to search for the corpus's files before downloading anything.

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

    #: Hashes of the texts, and of the labels, as they were when they were first read to the end; textgen sets it.
    first_reading: tuple[int, int] | None = None

    #: Whether documents that repeat an earlier one are left out; textgen sets it.
    drops_duplicates: bool = False

    #: The numbers of these documents in ascending order, as they were found at the first reading; textgen sets it.
    duplicates: Sequence[int] | None = None

    def __init__(self, options: BaseOptions, data_dir: Path | None = None) -> None:
        self.options = options
        self.data_dir = data_dir

    def __repr__(self) -> str:
        chosen = self.options.model_dump(exclude_defaults=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in chosen.items())})"

    def _repr_html_(self) -> str:
        provenance = self.provenance()
        files = ", ".join(source.file for source in provenance.sources)
        origin = {"licence": provenance.licence, "homepage": provenance.homepage, "files": files}
        return html.box(repr(self), html.facts(origin))

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """``"stream"`` or ``"documents"``, on which the defaults of training and generation depend."""

    @abstractmethod
    def documents(self) -> Iterator[str]:
        """Yields the texts that the options select, in the order of the source.

        Each call starts from the beginning: texts are read to find duplicates, for the vocabulary, then again for the
        ids. A stream may be yielded in pieces, cut anywhere; they are joined before a tokenizer reads them. A corpus
        larger than memory should yield while it reads.

        Raises:
            CorpusError: if a file cannot be read.
            UnavailableError: if a file is missing and cannot be downloaded; the message says which file to put where.
        """

    @property
    def is_labelled(self) -> bool:
        """Whether each document has a label, such as the class of a news title. Only documents can have labels."""
        return False

    def labelled_documents(self) -> Iterator[tuple[str, str]]:
        """Yields the label and the text of each document of :meth:`documents`; only if :attr:`is_labelled`."""
        raise NotImplementedError(f"{type(self).__name__} has no labels")

    @property
    def normalization(self) -> Literal["NFC"] | None:
        """The Unicode normal form of the texts, to which prompts are converted too; ``None`` for texts as they are."""
        return None

    @property
    def findings(self) -> Mapping[str, Any]:
        """Facts met while reading that options do not show, by name, such as the number of rows left out.

        Read after :meth:`documents`; ``textgen corpora info`` shows it.
        """
        return {}

    @property
    def settled_options(self) -> BaseOptions:
        """The options with every open choice resolved, so that a run finds the same text on any machine.

        Read after :meth:`documents`. The default is right for options that leave nothing open.
        """
        return self.options

    @abstractmethod
    def provenance(self) -> Provenance:
        """The corpus's addresses, hashes and licence."""

    def fetch(self) -> list[Path]:
        """Downloads the files that :meth:`documents` reads, unless they are present; returns their paths.

        The default is right for a corpus that does not read files.
        """
        return []
