"""The text of a run: its corpus, read and encoded once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from textgen.base.environment import data_folder
from textgen.errors import OptionError
from textgen.options import Options
from textgen.plugins.registry import Registry
from textgen.runs.artifact import Artifact
from textgen.text.boundaries import Boundaries
from textgen.text.corpus import Corpus, Layout
from textgen.text.encoded import EncodedText
from textgen.text.encoding import TextFacts, count_starts, encode, fit, read_documents, text_sha256
from textgen.text.tokenizer import Tokenizer
from textgen.training.settings import DEFAULT_TOKENIZER


@dataclass(frozen=True, kw_only=True)
class Text:
    """A corpus, encoded.

    Attributes:
        corpus: the corpus; it may be read again.
        corpus_name: its registered name.
        tokenizer: the fitted tokenizer.
        tokenizer_name: its registered name.
        encoded: all of the text.
        facts: counts of its characters, and its beginning.
    """

    corpus: Corpus
    corpus_name: str
    tokenizer: Tokenizer
    tokenizer_name: str
    encoded: EncodedText
    facts: TextFacts

    @classmethod
    def encode(cls, corpus: Corpus, tokenizer: Tokenizer, settings: Mapping[str, Mapping[str, Any]]) -> Text:
        """Reads and encodes a corpus.

        Args:
            corpus: the corpus.
            tokenizer: a fitted tokenizer.
            settings: the names of both, by table.

        Raises:
            CorpusError: if the text cannot be read, or is empty.
            UnknownCharacterError: if the tokenizer rejects one of its characters.
        """
        name, facts = settings["corpus"]["name"], TextFacts()
        tokenizer_name = settings["tokenizer"]["name"]
        return cls(
            corpus=corpus,
            corpus_name=name,
            tokenizer=tokenizer,
            tokenizer_name=tokenizer_name,
            encoded=encode(corpus.layout, _documents(corpus, name, tokenizer, tokenizer_name), tokenizer, facts),
            facts=facts,
        )

    @property
    def layout(self) -> Layout:
        """The layout of the corpus."""
        return self.corpus.layout

    @cached_property
    def boundaries(self) -> Boundaries:
        """The beginnings and the end of the texts."""
        end_id = None if self.layout == "stream" else int(self.encoded.ids[-1])
        return Boundaries(end_id, count_starts(self.layout, self.encoded, self.facts, self.tokenizer))

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 that identifies the encoded text; a run can only be resumed with the same one."""
        return text_sha256(self.encoded)

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """The complete tables ``corpus`` and ``tokenizer``, by which the text can be read again."""
        return {
            "corpus": named_options(self.corpus_name, self.corpus.settled_options),
            "tokenizer": named_options(self.tokenizer_name, self.tokenizer.options),
        }

    @property
    def provenance(self) -> dict[str, Any]:
        """The provenance that a run records, as JSON values."""
        return {**asdict(self.corpus.provenance()), "layout": self.layout, "text_sha256": self.sha256}

    def is_text_of(self, artifact: Artifact) -> bool:
        """Returns whether a run was trained on this text, with this vocabulary."""
        same = self.sha256 == artifact.manifest.provenance.get("text_sha256")
        return same and self.tokenizer.to_json() == artifact.tokenizer_json()


def read_text(
    settings: Mapping[str, Mapping[str, Any]],
    registry: Registry,
    data_dir: Path | None = None,
    *,
    tokenizer: Tokenizer | None = None,
) -> Text:
    """Reads and encodes the corpus that settings name.

    Args:
        settings: by table; ``corpus.name`` is needed, everything else has defaults.
        registry: where names are looked up.
        data_dir: a folder searched for the corpus's files before anything is downloaded; by default
            ``TEXTGEN_DATA_DIR``.
        tokenizer: a fitted tokenizer; by default the one that settings name is made and fitted to the corpus.

    Raises:
        OptionError: if an option is unknown or out of range.
        CorpusError: if the text cannot be read, or is empty.
        UnknownCharacterError: if the given tokenizer rejects a character.
    """
    corpus_settings = settings.get("corpus", {})
    if "name" not in corpus_settings:
        raise OptionError("no corpus is chosen: give a text file, --corpus NAME or --recipe NAME")
    corpus = registry.make("corpus", corpus_settings, data_folder(data_dir))
    tokenizer_settings = {"name": DEFAULT_TOKENIZER[corpus.layout], **settings.get("tokenizer", {})}
    if tokenizer is None:
        tokenizer = registry.make("tokenizer", tokenizer_settings)
        documents = _documents(corpus, corpus_settings["name"], tokenizer, tokenizer_settings["name"])
        fit(corpus.layout, documents, tokenizer)
    return Text.encode(corpus, tokenizer, {"corpus": corpus_settings, "tokenizer": tokenizer_settings})


def _documents(corpus: Corpus, name: str, tokenizer: Tokenizer, tokenizer_name: str) -> Iterator[str]:
    """Yields the texts of a corpus that are not empty.

    Raises:
        OptionError: at a document of several lines, if the tokenizer ends documents with a newline.
    """
    one_line = corpus.layout == "documents" and not tokenizer.has_eos
    for number, text in enumerate(read_documents(corpus, name), 1):
        if one_line and "\n" in text:
            raise OptionError(
                f"document {number} of the corpus {name} has several lines, but with {tokenizer_name} a document ends "
                f"with its line; use --tokenizer {DEFAULT_TOKENIZER['documents']}"
            )
        yield text


def named_options(name: str, options: Options) -> dict[str, Any]:
    """A complete table of settings: a plugin's name, and all its options as JSON values."""
    return {"name": name, **options.model_dump(mode="json")}
