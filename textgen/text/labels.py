"""Labels of documents: each is an id of its own, which a document begins with."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen.errors import OptionError, suggestion
from textgen.text.decoder import Decoder
from textgen.text.tokenizer import OnUnknown, Tokenizer


class LabelledTokenizer(Tokenizer):
    """A tokenizer whose ids are followed by one id per label.

    A label has no text, and is never drawn. The vocabulary's JSON is that of the tokenizer alone.

    Args:
        base: the tokenizer of the text, fitted.
        labels: in the order of their ids.

    Attributes:
        base: as given.
        labels: as given.
    """

    def __init__(self, base: Tokenizer, labels: Sequence[str]) -> None:
        super().__init__(base.options)
        self.base = base
        self.labels = tuple(labels)
        self.has_eos = base.has_eos  # type: ignore[misc]  # a fact about the class that it wraps

    def fit(self, texts: Iterable[str]) -> None:
        self.base.fit(texts)

    def encode(self, text: str, on_unknown: OnUnknown | None = None) -> NDArray[np.int32]:
        return self.base.encode(text, on_unknown)

    def encode_batch(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        return self.base.encode_batch(texts)

    def decode(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        return self.base.decode(self._text_ids(ids))

    def token(self, token_id: int) -> str:
        first = self.base.vocab_size
        return self.base.token(token_id) if token_id < first else f"<{self.labels[int(token_id) - first]}>"

    def __repr__(self) -> str:
        return f"{self.base!r} with the labels {', '.join(self.labels)}"

    def decoder(self) -> Decoder:
        return _TextDecoder(self.base.decoder(), self._text_ids)

    def grow(self, texts: Iterable[str]) -> NDArray[np.int32]:
        labels = self.label_ids  # before it grows
        return np.concatenate([self.base.grow(texts), labels]).astype(np.int32)

    @property
    def characters_per_id(self) -> NDArray[np.int32]:
        return np.concatenate([self.base.characters_per_id, np.zeros(len(self.labels), np.int32)])

    @property
    def vocab_size(self) -> int:
        return self.base.vocab_size + len(self.labels)

    @property
    def pad_id(self) -> int | None:
        return self.base.pad_id

    @property
    def unk_id(self) -> int | None:
        return self.base.unk_id

    @property
    def eos_id(self) -> int | None:
        return self.base.eos_id

    @property
    def label_ids(self) -> range:
        """The ids of the labels."""
        return range(self.base.vocab_size, self.vocab_size)

    @property
    def forbidden_ids(self) -> tuple[int, ...]:
        return (*self.base.forbidden_ids, *self.label_ids)

    def to_json(self) -> dict[str, Any]:
        return self.base.to_json()

    def load_json(self, vocabulary: Mapping[str, Any]) -> None:
        self.base.load_json(vocabulary)

    def _text_ids(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> list[int]:
        """The ids that are not labels."""
        first = self.base.vocab_size
        return [int(i) for i in ids if i < first]


class _TextDecoder(Decoder):
    """The decoder of the text, which never sees a label."""

    def __init__(self, decoder: Decoder, text_ids: Callable[[Any], list[int]]) -> None:
        self._decoder = decoder
        self._text_ids = text_ids

    def feed(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        return self._decoder.feed(self._text_ids(ids))

    def flush(self) -> str:
        return self._decoder.flush()


def labels_of(tokenizer: Tokenizer) -> tuple[str, ...]:
    """The labels that a tokenizer has ids for; none if it is not a :class:`LabelledTokenizer`."""
    return tokenizer.labels if isinstance(tokenizer, LabelledTokenizer) else ()


def without_labels(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer of the text alone. Labels have the ids from its ``vocab_size`` on."""
    return tokenizer.base if isinstance(tokenizer, LabelledTokenizer) else tokenizer


def label_id(tokenizer: Tokenizer, label: str) -> int:
    """The id of a label.

    Raises:
        OptionError: if there is no such label.
    """
    labels = labels_of(tokenizer)
    if not labels:
        raise OptionError(
            "the run has no labels; to train one with labels, set corpus.label, as in --set corpus.label=COLUMN"
        )
    if label not in labels:
        label = unicodedata.normalize("NFC", label)  # as corpora have labels
    if label not in labels:
        raise OptionError(f"the run has no label {label!r}; {suggestion(label, labels)}")
    return without_labels(tokenizer).vocab_size + labels.index(label)


def label_of(tokenizer: Tokenizer, ids: Iterable[int]) -> str | None:
    """The first label among ids; ``None`` if there is none."""
    labels = labels_of(tokenizer)
    if not labels:
        return None
    first = without_labels(tokenizer).vocab_size
    return next((labels[i - first] for i in ids if i >= first), None)
