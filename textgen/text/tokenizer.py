"""The Tokenizer interface: text to ids and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from textgen.base import html
from textgen.base.values import dtype_and_shape
from textgen.errors import PluginError
from textgen.options import Options as BaseOptions
from textgen.text.decoder import Decoder

#: The treatment of a character outside the vocabulary: raise an error, skip it, or encode it as the unknown id.
OnUnknown = Literal["error", "skip", "unk"]


class Tokenizer(ABC):
    """Maps text to ids from 0 to ``vocab_size - 1`` and back. A plugin subclasses this class.

    Args:
        options: an instance of the class attribute ``Options``.
    """

    #: The schema of its options.
    Options: ClassVar[type[BaseOptions]] = BaseOptions

    #: Whether the vocabulary has an end-of-document id. Needed before :meth:`fit`: without such an id, documents end
    #: with a newline, which must be in the vocabulary.
    has_eos: ClassVar[bool] = False

    def __init__(self, options: BaseOptions) -> None:
        self.options = options

    @abstractmethod
    def fit(self, texts: Iterable[str]) -> None:
        """Builds the vocabulary from all texts; they can be iterated only once, and may not fit in memory."""

    @abstractmethod
    def encode(self, text: str, on_unknown: OnUnknown | None = None) -> NDArray[np.int32]:
        """Returns the ids of a text, ``[n]`` int32, without an end-of-document id.

        Args:
            text: any Unicode text.
            on_unknown: overrides the tokenizer's own treatment of unknown characters.

        Raises:
            UnknownCharacterError: under ``"error"``, with the character and its position.
            OptionError: under ``"unk"``, if the tokenizer has no unknown id.
        """

    def encode_batch(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Returns the ids of texts of a corpus, each encoded as by :meth:`encode`.

        The default encodes one text after the other; override it if there is a faster way, or if :meth:`fit` leaves out
        rare characters or words, which a corpus has all the same: they must be no error here.

        Args:
            texts: at least one text.

        Returns:
            The ids of the texts end to end, ``[n]`` int32, and the number of ids of each, ``[texts]`` int64.

        Raises:
            UnknownCharacterError: as :meth:`encode`, with the position in its text.
        """
        parts = [self.encode(text) for text in texts]
        try:
            return np.concatenate(parts), np.fromiter(map(len, parts), np.int64, len(parts))
        except (TypeError, ValueError):
            for ids in parts:
                check_ids(ids, self)
            raise

    @abstractmethod
    def decode(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        """Returns the text of ids. An end-of-document id becomes a newline, padding an empty string.

        Bytes that are not a whole character become ``U+FFFD``.
        """

    def token(self, token_id: int) -> str:
        """Returns an id as people read it: its text, or ``<pad>``, ``<unk>`` or ``<eos>``."""
        special = {self.pad_id: "<pad>", self.unk_id: "<unk>", self.eos_id: "<eos>"}
        return special.get(int(token_id)) or self.decode([int(token_id)])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_size(self)})"

    def _repr_html_(self) -> str:
        try:
            shown = range(min(self.vocab_size, html.MOST_ROWS))
            ids = [f"{i} {html.code(repr(self.token(i)))}" for i in shown]
        except Exception:  # before it is fitted
            ids = []
        more = " …" if ids and self.vocab_size > len(ids) else ""
        return html.box(f"{type(self).__name__}: {_size(self)}", f"<div>{'&ensp; '.join(ids)}{more}</div>")

    def decoder(self) -> Decoder:
        """Returns a new decoder, which turns ids into text as they come.

        The default is right for ids that stand for characters, words or bytes. A tokenizer whose ids each have a text
        of their own may return a :class:`textgen.PlainDecoder`, which is faster.
        """
        return Decoder(self.decode)

    @property
    def characters_per_id(self) -> NDArray[np.int32]:
        """The number of characters that each id stands for, ``[vocab_size]`` int32; losses are reported by it.

        The sum over the ids of a text is the number of its characters. By default, this is the number that the id adds
        to the text of an ordinary id before it, 1 for an unknown character, and 0 for padding. Override it if an id may
        be a part of a character: of the ids of a character, one stands for it.
        """
        special = {self.pad_id, self.unk_id, self.eos_id}
        before = next((i for i in range(self.vocab_size) if i not in special), 0)
        alone = len(self.decode([before]))
        counts = np.array([len(self.decode([before, i])) - alone for i in range(self.vocab_size)], np.int32)
        if self.pad_id is not None:
            counts[self.pad_id] = 0
        if self.unk_id is not None:
            counts[self.unk_id] = 1
        return counts

    def grow(self, texts: Iterable[str]) -> NDArray[np.int32]:
        """Adds to a fitted vocabulary what texts have and it lacks, to train trained weights on other text.

        The default adds nothing, which is right for a tokenizer that encodes any text.

        Args:
            texts: can be iterated only once.

        Returns:
            ``[vocab_size]`` int32: for each id of the grown vocabulary the id that it had before, -1 for a new one.
        """
        return np.arange(self.vocab_size, dtype=np.int32)

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """The number of ids."""

    @property
    def pad_id(self) -> int | None:
        """The id of padding, or ``None``."""
        return None

    @property
    def unk_id(self) -> int | None:
        """The id of an unknown character, or ``None``."""
        return None

    @property
    def eos_id(self) -> int | None:
        """The id of the end of a document, or ``None``."""
        return None

    @property
    def forbidden_ids(self) -> tuple[int, ...]:
        """The ids that must never be drawn: unknown and padding."""
        return tuple(sorted({i for i in (self.unk_id, self.pad_id) if i is not None}))

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Returns the fitted vocabulary as JSON values; the artifact stores the options separately."""

    @abstractmethod
    def load_json(self, vocabulary: Mapping[str, Any]) -> None:
        """Restores the vocabulary that :meth:`to_json` returned.

        Raises:
            ArtifactError: if this is not a vocabulary of this tokenizer.
        """


def _size(tokenizer: Tokenizer) -> str:
    try:
        return f"{tokenizer.vocab_size:,} ids"
    except Exception:  # a plugin's may have none before it is fitted
        return "not fitted"


def check_vocabulary(tokenizer: Tokenizer) -> None:
    """Checks the number of ids of a fitted tokenizer, and its special ids.

    Raises:
        PluginError: if there is no id, or a special id is not in the vocabulary.
    """
    size: Any = tokenizer.vocab_size
    if not isinstance(size, int | np.integer) or size < 1:
        raise _fault(tokenizer, f"has {size!r} ids")
    for name in ("pad_id", "unk_id", "eos_id"):
        special: Any = getattr(tokenizer, name)
        if special is not None and not (isinstance(special, int | np.integer) and 0 <= special < size):
            raise _fault(tokenizer, f"has the {name} {special!r}, but its vocabulary has {size}")


def check_ids(ids: Any, tokenizer: Tokenizer, texts: int = 1, counts: Any = None) -> None:
    """Checks the ids of texts.

    Args:
        ids: what the tokenizer returned.
        tokenizer: is named in the error.
        texts: the number of texts.
        counts: the number of ids of each text, if there are several.

    Raises:
        PluginError: if these are not whole numbers ``[n]`` in the vocabulary, or not as many as ``counts`` says.
    """
    if not isinstance(ids, np.ndarray) or ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise _fault(tokenizer, f"returned {dtype_and_shape(ids)} instead of ids int32 [n]")
    if ids.size and not 0 <= ids.min() <= ids.max() < tokenizer.vocab_size:
        raise _fault(
            tokenizer,
            f"returned ids from {ids.min()} to {ids.max()}, but its vocabulary has {tokenizer.vocab_size}",
        )
    if counts is not None and (np.shape(counts) != (texts,) or np.min(counts) < 0 or np.sum(counts) != len(ids)):
        raise _fault(tokenizer, f"returned {len(ids)} ids, but other numbers of ids for its {texts} texts")


def _fault(tokenizer: Tokenizer, fault: str) -> PluginError:
    kind = type(tokenizer)
    return PluginError(f"the tokenizer {fault}: report this to the author of {kind.__module__}.{kind.__name__}")
