"""The text of a run: its corpus, read and encoded once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen.base.environment import data_folder
from textgen.errors import OptionError, PluginError
from textgen.options import Options
from textgen.plugins.registry import Registry
from textgen.runs.artifact import Artifact
from textgen.runs.manifest import TOKENIZER
from textgen.text.boundaries import Boundaries
from textgen.text.corpus import Corpus, Layout
from textgen.text.encoded import EncodedText, count_ids, usual_longest
from textgen.text.encoding import TextFacts, count_starts, encode_corpus, fit_corpus, text_sha256
from textgen.text.growth import grow_for
from textgen.text.labels import labels_of, without_labels
from textgen.text.tokenizer import Tokenizer
from textgen.training.settings import DEFAULT_TOKENIZER, common_options


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
        old_ids: ``[vocab_size]`` int32, if the vocabulary has grown for this text: the id that each id had before, or
            -1; see :meth:`textgen.Tokenizer.grow`.
    """

    corpus: Corpus
    corpus_name: str
    tokenizer: Tokenizer
    tokenizer_name: str
    encoded: EncodedText
    facts: TextFacts
    old_ids: NDArray[np.int32] | None = None

    @classmethod
    def encode(
        cls,
        corpus: Corpus,
        tokenizer: Tokenizer,
        settings: Mapping[str, Mapping[str, Any]],
        old_ids: NDArray[np.int32] | None = None,
    ) -> Text:
        """Reads and encodes a corpus.

        Args:
            corpus: the corpus.
            tokenizer: a fitted tokenizer.
            settings: the names of both, by table.
            old_ids: as the attribute.

        Raises:
            CorpusError: if the text cannot be read, or is empty.
            UnknownCharacterError: if the tokenizer rejects one of its characters.
        """
        name, facts = settings["corpus"]["name"], TextFacts()
        return cls(
            corpus=corpus,
            corpus_name=name,
            tokenizer=tokenizer,
            tokenizer_name=settings["tokenizer"]["name"],
            encoded=encode_corpus(corpus, name, tokenizer, facts),
            facts=facts,
            old_ids=old_ids,
        )

    @property
    def layout(self) -> Layout:
        """The layout of the corpus."""
        return self.corpus.layout

    @property
    def duplicates(self) -> int:
        """The number of documents that were left out because they repeat an earlier one."""
        return len(self.corpus.duplicates or ())

    @cached_property
    def characters_per_id(self) -> NDArray[np.float64]:
        """The number of characters that each id stands for, ``[vocab]`` float64.

        The unknown id stands for as many as the pieces have on average that it replaces in this text, such as words.
        """
        found, unknown = self.tokenizer.characters_per_id, self.tokenizer.unk_id
        characters = np.array(found, np.float64)
        good = characters.shape == (self.tokenizer.vocab_size,) and np.isfinite(characters).all()
        if not good or characters.min() < 0:
            raise PluginError(
                f"the tokenizer {self.tokenizer_name} does not say how many characters each of its ids stands for: "
                "report this to its author"
            )
        if unknown is not None:
            counts = count_ids(self.encoded.ids, len(characters))
            if counts[unknown]:
                ends = len(self.encoded) if self.layout == "documents" else 0
                known = counts @ characters - counts[unknown] * characters[unknown]
                replaced = self.facts.characters + ends - known
                characters[unknown] = max(replaced / counts[unknown], 1)
        return characters

    @property
    def end_id(self) -> int | None:
        """The id that ends a document; ``None`` for a stream."""
        return None if self.layout == "stream" else int(self.encoded.ids[-1])

    @cached_property
    def boundaries(self) -> Boundaries:
        """The beginnings and the end of the texts."""
        return Boundaries(
            self.end_id, count_starts(self.layout, self.encoded, self.facts, without_labels(self.tokenizer))
        )

    @cached_property
    def usual_longest(self) -> int:
        """The number of ids above which a document is long; padded documents that are long are split to train on."""
        return usual_longest(self.encoded.lengths())

    def describe(self, *, splits_long: bool, has_long_tokens: bool, advises: bool = True) -> str:
        """The size of the text, in words: its documents, characters and tokens.

        Args:
            splits_long: whether long documents are split to train on; their number is then given.
            has_long_tokens: whether tokens stand for more or fewer characters than one; their number is then given.
            advises: whether to say how duplicates are kept, on the command line.
        """
        counts = f"{self.facts.characters:,} characters"
        if self.layout == "documents":
            long = int((self.encoded.lengths() > self.usual_longest).sum()) if splits_long else 0
            split = f" ({long} longer than {self.usual_longest:,} tokens, split to train on)" if long else ""
            counts = f"{len(self.encoded):,} documents{split}{self.describe_duplicates(advises=advises)}, {counts}"
        return f"{counts}, {len(self.encoded.ids):,} tokens" if has_long_tokens else counts

    def describe_duplicates(self, *, advises: bool = True) -> str:
        """How many documents were left out, in brackets after a blank; empty if none were.

        Args:
            advises: whether to say how they are kept, on the command line.
        """
        count = self.duplicates
        are = "duplicate is" if count == 1 else "duplicates are"
        keep = "; --set training.drop_duplicates=false keeps them" * advises
        return f" ({count:,} {are} left out{keep})" if count else ""

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
        return {
            **asdict(self.corpus.provenance()),
            "layout": self.layout,
            "multiline": self.facts.multiline,
            "text_sha256": self.sha256,
        }

    def is_text_of(self, artifact: Artifact) -> bool:
        """Returns whether a run was trained on this text, with this vocabulary and these labels."""
        manifest = artifact.manifest
        same = (
            self.sha256 == manifest.provenance.get("text_sha256") and list(labels_of(self.tokenizer)) == manifest.labels
        )
        if TOKENIZER not in manifest.files:  # killed before it was written; nothing depends on it yet
            return same
        return same and self.tokenizer.to_json() == artifact.tokenizer_json()


def read_text(
    settings: Mapping[str, Mapping[str, Any]],
    registry: Registry,
    data_dir: Path | None = None,
    *,
    tokenizer: Tokenizer | None = None,
    grows: bool = False,
) -> Text:
    """Reads and encodes the corpus that settings name.

    Args:
        settings: by table; ``corpus.name`` is needed, everything else has defaults.
        registry: where names are looked up.
        data_dir: a folder searched for the corpus's files before anything is downloaded; by default
            ``TEXTGEN_DATA_DIR``.
        tokenizer: a fitted tokenizer; by default the one that settings name is made and fitted to the corpus.
        grows: whether the given tokenizer first adds to its vocabulary what the corpus has and it lacks.

    Raises:
        OptionError: if an option is unknown or out of range.
        CorpusError: if the text cannot be read, or is empty.
        UnknownCharacterError: if the given tokenizer rejects a character.
    """
    corpus_settings = settings.get("corpus", {})
    if "name" not in corpus_settings:
        raise OptionError(
            "no corpus is chosen: give a text file, --corpus NAME or --recipe NAME, in Python corpus=… or text=…"
        )
    corpus = registry.make("corpus", corpus_settings, data_folder(data_dir))
    corpus.drops_duplicates = common_options(settings).drop_duplicates
    tokenizer_settings = {"name": DEFAULT_TOKENIZER[corpus.layout], **settings.get("tokenizer", {})}
    if tokenizer is None:
        tokenizer = registry.make("tokenizer", tokenizer_settings)
        tokenizer = fit_corpus(corpus, corpus_settings["name"], tokenizer)
    old_ids = None
    if grows:
        tokenizer, old_ids = grow_for(corpus, corpus_settings["name"], tokenizer)
    return Text.encode(corpus, tokenizer, {"corpus": corpus_settings, "tokenizer": tokenizer_settings}, old_ids)


def named_options(name: str, options: Options) -> dict[str, Any]:
    """A complete table of settings: a plugin's name, and all its options as JSON values."""
    return {"name": name, **options.model_dump(mode="json")}
