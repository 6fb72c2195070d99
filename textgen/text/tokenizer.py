"""The Tokenizer interface: text to ids and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from textgen.options import Options as BaseOptions

#: What to do with a character that the vocabulary lacks: raise, leave it out, or take the unknown id.
OnUnknown = Literal["error", "skip", "unk"]


class Tokenizer(ABC):
    """Maps text to ids from 0 to ``vocab_size - 1``, and back.

    Args:
        options: an instance of the class attribute ``Options``.
    """

    Options: ClassVar[type[BaseOptions]] = BaseOptions

    #: Whether the vocabulary has an end-of-document id. Known before :meth:`fit`: documents are ended by that id
    #: where there is one, and by a newline where there is none.
    has_eos: ClassVar[bool] = False

    def __init__(self, options: BaseOptions) -> None:
        self.options = options

    @abstractmethod
    def fit(self, texts: Iterable[str]) -> None:
        """Build the vocabulary from all texts, which can be read once only and may be more than fits in memory."""

    @abstractmethod
    def encode(self, text: str, on_unknown: OnUnknown | None = None) -> NDArray[np.int32]:
        """The ids of a text, ``[n]`` int32, without an end-of-document id.

        Args:
            text: any Unicode text.
            on_unknown: overrides the tokenizer's own way with a character that it does not know.

        Raises:
            UnknownCharacterError: under ``"error"``, with the character and its position.
            OptionError: under ``"unk"``, where the tokenizer has no unknown id.
        """

    def encode_batch(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The ids of many texts, each as :meth:`encode` gives them.

        The default encodes one after the other; override it where there is a faster way.

        Args:
            texts: at least one.

        Returns:
            The texts' ids end to end, ``[n]`` int32, and how many each has, ``[texts]`` int64.

        Raises:
            UnknownCharacterError: as :meth:`encode`, with the position in its text.
        """
        parts = [self.encode(text) for text in texts]
        return np.concatenate(parts), np.fromiter(map(len, parts), np.int64, len(parts))

    @abstractmethod
    def decode(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        """The text of ids. An end-of-document id reads as a newline, padding as nothing.

        The text of ``a + b`` is that of ``a``, then that of ``b``, so that text can be streamed.
        """

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """The number of ids."""

    @property
    def pad_id(self) -> int | None:
        """The id that fills a batch up, or ``None``."""
        return None

    @property
    def unk_id(self) -> int | None:
        """The id of an unknown character, or ``None``."""
        return None

    @property
    def eos_id(self) -> int | None:
        """The id that ends a document, or ``None``."""
        return None

    @property
    def forbidden_ids(self) -> tuple[int, ...]:
        """Ids that must never be drawn: unknown and padding."""
        return tuple(sorted({i for i in (self.unk_id, self.pad_id) if i is not None}))

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """The fitted vocabulary as JSON values; the options are kept apart, by the artifact."""

    @abstractmethod
    def load_json(self, vocabulary: Mapping[str, Any]) -> None:
        """Restore what :meth:`to_json` gave.

        Raises:
            ArtifactError: where it is not a vocabulary of this tokenizer.
        """
