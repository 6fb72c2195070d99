"""What the bundled tokenizers share: one id a character, where a character is a Unicode code point."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from textgen import OnUnknown, Tokenizer
from textgen.errors import ArtifactError, CorpusError, OptionError, UnknownCharacterError

ON_UNKNOWN = (
    "What to do with a character that the vocabulary lacks: error names it and its position, "
    "skip leaves it out, unk takes the unknown id"
)


class CharacterTokenizer(Tokenizer):
    r"""One id a character: the ids of :attr:`leading`, then the vocabulary's characters, then :attr:`trailing`.

    Nothing is normalised: a combining mark, a byte-order mark, ``\r`` and a lone surrogate are characters too.

    Attributes:
        characters: the vocabulary's characters in the order of their ids; empty until :meth:`fit` or :meth:`load_json`.
    """

    #: What each special id before the characters decodes to.
    leading: ClassVar[tuple[str, ...]] = ()

    #: What each special id after the characters decodes to.
    trailing: ClassVar[tuple[str, ...]] = ()

    #: What :meth:`encode` does with an unknown character when it is not told.
    on_unknown: OnUnknown

    characters: tuple[str, ...] = ()

    def fit(self, texts: Iterable[str]) -> None:
        """Build the vocabulary from all texts.

        Raises:
            CorpusError: where they have no character.
        """
        counts = _count_characters(texts)
        if not counts:
            raise CorpusError("the corpus has no text to build a vocabulary from; give it at least one character")
        self._set_vocabulary(self.order_characters(counts))

    def order_characters(self, counts: Mapping[str, int]) -> Sequence[str]:
        """The characters in the order of their ids, here by code point.

        Args:
            counts: how often each occurs, in the order of their first appearance.
        """
        return sorted(counts)

    def _set_vocabulary(self, characters: Sequence[str]) -> None:
        self.characters = tuple(characters)
        points = _code_points("".join(characters))
        # One entry more than the largest code point: whatever lies above it is clipped to that entry, unknown.
        self._ids = np.full(int(points.max()) + 2, -1, np.int32)
        self._ids[points] = np.arange(len(points), dtype=np.int32) + len(self.leading)
        self._texts = np.array([*self.leading, *characters, *self.trailing], dtype=object)

    def encode(self, text: str, on_unknown: OnUnknown | None = None) -> NDArray[np.int32]:
        way = on_unknown or self.on_unknown
        ids = self._ids.take(_code_points(text), mode="clip")
        unknown = ids < 0
        if way == "unk":
            if self.unk_id is None:
                raise OptionError("this tokenizer has no unknown id; use --on-unknown error or skip")
            ids[unknown] = self.unk_id
        elif way == "skip":
            ids = ids[~unknown]
        elif unknown.any():
            position = int(unknown.argmax())
            raise UnknownCharacterError(text[position], position)
        return ids

    def encode_batch(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        ids = self._ids.take(_code_points("".join(texts)), mode="clip")
        if (ids < 0).any():  # which changes the lengths, or is an error that names the position in its text
            return super().encode_batch(texts)
        return ids, np.fromiter(map(len, texts), np.int64, len(texts))

    def decode(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        return "".join(self._texts[np.asarray(ids, dtype=np.intp)])

    @property
    def vocab_size(self) -> int:
        return len(self.leading) + len(self.characters) + len(self.trailing)

    def to_json(self) -> dict[str, Any]:
        # A list, not a string: JSON would join a high surrogate and the low one after it into one character.
        return {"characters": list(self.characters)}

    def load_json(self, vocabulary: Mapping[str, Any]) -> None:
        characters = vocabulary.get("characters")
        if not (set(vocabulary) == {"characters"} and isinstance(characters, list) and _are_distinct(characters)):
            raise ArtifactError(
                'the vocabulary is not {"characters": [...]} with distinct single characters; restore it or train again'
            )
        self._set_vocabulary(characters)


def _are_distinct(characters: list[Any]) -> bool:
    single = all(isinstance(character, str) and len(character) == 1 for character in characters)
    return bool(characters) and single and len(set(characters)) == len(characters)


def _count_characters(texts: Iterable[str]) -> dict[str, int]:
    """The number of occurrences of each character, in the order of first appearance."""
    from textgen import in_pieces

    counts = np.zeros(sys.maxunicode + 1, np.int64)
    order: dict[str, None] = {}
    for piece in map("".join, in_pieces(texts)):
        here = np.bincount(_code_points(piece))
        if (here[counts[: len(here)] == 0] > 0).any():
            order |= dict.fromkeys(piece)
        counts[: len(here)] += here
    return {character: int(counts[ord(character)]) for character in order}


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
