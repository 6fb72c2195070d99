"""The base class of the bundled tokenizers: one id per character; a character is a Unicode code point."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from textgen import OnUnknown, PlainDecoder, Tokenizer
from textgen.errors import ArtifactError, CorpusError, OptionError, UnknownCharacterError

ON_UNKNOWN = (
    "What to do with characters outside the vocabulary: error names the first and its position, "
    "skip drops them, unk replaces them by the unknown id"
)


class CharacterTokenizer(Tokenizer):
    r"""One id per character: the ids of :attr:`leading`, then the characters of the vocabulary, then :attr:`trailing`.

    Nothing is normalised: combining marks, byte-order marks, ``\r`` and lone surrogates are characters too.

    Attributes:
        characters: the vocabulary in the order of the ids; empty before :meth:`fit` or :meth:`load_json`.
    """

    #: The texts of the special ids before the characters.
    leading: ClassVar[tuple[str, ...]] = ()

    #: The texts of the special ids after the characters.
    trailing: ClassVar[tuple[str, ...]] = ()

    #: What :meth:`encode` does with an unknown character by default.
    on_unknown: OnUnknown

    characters: tuple[str, ...] = ()

    def fit(self, texts: Iterable[str]) -> None:
        """Builds the vocabulary from all texts.

        Raises:
            CorpusError: if they contain no character.
        """
        counts = _count_characters(texts)
        if not counts:
            raise CorpusError("the corpus has no text to build a vocabulary from; give it at least one character")
        self._set_vocabulary(self.order_characters(counts))

    def order_characters(self, counts: Mapping[str, int]) -> Sequence[str]:
        """The characters in the order of their ids, here by code point.

        Args:
            counts: the number of occurrences of each, in the order of first appearance.
        """
        return sorted(counts)

    def _set_vocabulary(self, characters: Sequence[str]) -> None:
        self.characters = tuple(characters)
        points = _code_points("".join(characters))
        # The last entry stands for all larger code points, which are clipped to it: unknown.
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
            raise UnknownCharacterError(text[position], position, self._other_ways)
        return ids

    def encode_batch(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        ids = self._ids.take(_code_points("".join(texts)), mode="clip")
        if (ids < 0).any():  # it may change the lengths, or be an error that names the position in its text
            return super().encode_batch(texts)
        return ids, np.fromiter(map(len, texts), np.int64, len(texts))

    def decode(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        return "".join(self._texts[np.asarray(ids, dtype=np.intp)])

    def decoder(self) -> PlainDecoder:
        return PlainDecoder(self.decode)

    @property
    def characters_per_id(self) -> NDArray[np.int32]:
        return np.ones(self.vocab_size, np.int32)  # padding that is not masked counts, as each id does

    @property
    def _other_ways(self) -> tuple[OnUnknown, ...]:
        return ("skip",) if self.unk_id is None else ("skip", "unk")

    @property
    def vocab_size(self) -> int:
        return len(self.leading) + len(self.characters) + len(self.trailing)

    def to_json(self) -> dict[str, Any]:
        # A list, not a string: JSON would join a high and a low surrogate to a single character.
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
