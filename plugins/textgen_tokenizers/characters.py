"""The base class of the character tokenizers: one id per character; a character is a Unicode code point."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from textgen import OnUnknown, PlainDecoder, Tokenizer, notice
from textgen.errors import ArtifactError, CorpusError, OptionError, UnknownCharacterError
from textgen.options import Options

ON_UNKNOWN = (
    "What to do with characters outside the vocabulary: error names the first and its position, "
    "skip drops them, unk replaces them by the unknown id"
)

#: What becomes of rare characters of a corpus.
Rare = Literal["unk", "drop"]

#: Characters that are looked up at a time.
AT_ONCE = 1 << 16

#: Marks in the tables of ids: an unknown character, and a rare one that is dropped.
UNKNOWN, DROPPED = -1, -2


class CharacterOptions(Options):
    """Options of :class:`CharacterTokenizer`."""

    min_count: int = Field(
        1,
        ge=1,
        description="Characters that occur less often in the corpus are rare, and not in the vocabulary; line ends are "
        "never rare.",
    )


class RareOptions(CharacterOptions):
    """Options of a :class:`CharacterTokenizer` with an unknown id."""

    rare: Rare = Field(
        "unk",
        description="What becomes of rare characters of a corpus: unk makes them the unknown id, drop leaves them out.",
    )


class CharacterTokenizer(Tokenizer):
    r"""One id per character: the ids of :attr:`leading`, then the characters of the vocabulary, then :attr:`trailing`.

    Nothing is normalised: combining marks, byte-order marks, ``\r`` and lone surrogates are characters too.

    Attributes:
        characters: the vocabulary in the order of the ids; empty before :meth:`fit` or :meth:`load_json`.
        rare: the characters of the corpus that are too rare for the vocabulary, by code point.
    """

    Options = CharacterOptions
    options: CharacterOptions

    #: The texts of the special ids before the characters.
    leading: ClassVar[tuple[str, ...]] = ()

    #: The texts of the special ids after the characters.
    trailing: ClassVar[tuple[str, ...]] = ()

    #: What :meth:`encode` does with an unknown character by default.
    on_unknown: OnUnknown

    #: Whether rare characters of a corpus are left out; else they are the unknown id.
    drops_rare: bool = True

    characters: tuple[str, ...] = ()
    rare: tuple[str, ...] = ()

    def fit(self, texts: Iterable[str]) -> None:
        """Builds the vocabulary from all texts.

        Raises:
            CorpusError: if they contain no character, or only rare ones.
        """
        counts = _count_characters(texts)
        if not counts:
            raise CorpusError("the corpus has no text to build a vocabulary from; give it at least one character")
        least = self.options.min_count
        if max(counts.values()) < least:
            raise CorpusError(f"no character of the corpus occurs {least} times; lower tokenizer.min_count")
        frequent = self._frequent(counts)
        self._set_vocabulary(self.order_characters(frequent), sorted(counts.keys() - frequent.keys()))

    def _frequent(self, counts: Mapping[str, int], kind: str = "characters") -> dict[str, int]:
        """The counts of the characters that are not rare; the others are reported."""
        least = self.options.min_count
        frequent = {each: count for each, count in counts.items() if count >= least or each == "\n"}
        if rare := counts.keys() - frequent.keys():
            occurrences = sum(counts[each] for each in rare)
            fate = "are dropped" if self.drops_rare else f"become {self.leading[0] or 'the unknown id'}"
            notice(
                f"{len(rare):,} of {len(counts):,} {kind} occur fewer than {least:,} times, {occurrences:,} times "
                f"in all; they {fate}"
            )
        return frequent

    def order_characters(self, counts: Mapping[str, int]) -> Sequence[str]:
        """The characters in the order of their ids, here by code point.

        Args:
            counts: the number of occurrences of each, in the order of first appearance.
        """
        return sorted(counts)

    def _set_vocabulary(self, characters: Sequence[str], rare: Sequence[str]) -> None:
        self.characters, self.rare = tuple(characters), tuple(rare)
        points, rare_points = _code_points("".join(characters)), _code_points("".join(rare))
        # The last entry stands for all larger code points, which are clipped to it: unknown.
        self._ids = np.full(int(max(points.max(), rare_points.max(initial=0))) + 2, UNKNOWN, np.int32)
        self._ids[points] = np.arange(len(points), dtype=np.int32) + len(self.leading)
        self._ids_of_corpus = self._ids.copy()
        self._ids_of_corpus[rare_points] = DROPPED if self.drops_rare or self.unk_id is None else self.unk_id
        self._texts = [*self.leading, *characters, *self.trailing]

    def encode(self, text: str, on_unknown: OnUnknown | None = None) -> NDArray[np.int32]:
        return self._encode(text, self._ids, on_unknown or self.on_unknown)

    def _encode(self, text: str, table: NDArray[np.int32], way: OnUnknown) -> NDArray[np.int32]:
        ids = _look_up(table, text)
        unknown = ids == UNKNOWN
        if way == "unk":
            if self.unk_id is None:
                raise OptionError("this tokenizer has no unknown id; use --on-unknown error or skip")
            ids[unknown] = self.unk_id
        elif way == "error" and unknown.any():
            position = int(unknown.argmax())
            raise UnknownCharacterError(text[position], position, self._other_ways)
        known = ids >= 0
        return ids if known.all() else ids[known]

    def encode_batch(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        ids = _look_up(self._ids_of_corpus, "".join(texts))
        lengths: Iterable[int] = map(len, texts)
        if (ids < 0).any():  # it may change the lengths, or be an error that names the position in its text
            parts = [self._encode(text, self._ids_of_corpus, self.on_unknown) for text in texts]
            ids, lengths = np.concatenate(parts), map(len, parts)
        return ids, np.fromiter(lengths, np.int64, len(texts))

    def grow(self, texts: Iterable[str]) -> NDArray[np.int32]:
        """Adds new characters that are not rare after those that are known; ids after them move."""
        counts, known_characters = _count_characters(texts), set(self.characters)
        new = {each: count for each, count in counts.items() if each not in known_characters}
        frequent = self._frequent(new, "new characters")
        rare = ({*self.rare} | new.keys()) - frequent.keys()
        known, all_before = len(self.leading) + len(self.characters), self.vocab_size
        self._set_vocabulary([*self.characters, *self.order_characters(frequent)], sorted(rare))
        before = [*range(known), *[-1] * len(frequent), *range(known, all_before)]
        return np.array(before, np.int32)

    def decode(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        listed = ids.tolist() if isinstance(ids, np.ndarray) else ids
        return "".join(map(self._texts.__getitem__, listed))

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
        rare = {"rare": list(self.rare)} if self.rare else {}
        return {"characters": list(self.characters), **rare}

    def load_json(self, vocabulary: Mapping[str, Any]) -> None:
        characters, rare = vocabulary.get("characters"), vocabulary.get("rare", [])
        are_lists = isinstance(characters, list) and isinstance(rare, list)
        if not (
            set(vocabulary) <= {"characters", "rare"} and are_lists and characters and _are_distinct(characters + rare)
        ):
            raise ArtifactError(
                'the vocabulary is not {"characters": [...]} with distinct single characters; restore it or train again'
            )
        self._set_vocabulary(characters, rare)


def _are_distinct(characters: list[Any]) -> bool:
    single = all(isinstance(character, str) and len(character) == 1 for character in characters)
    return single and len(set(characters)) == len(characters)


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


def _look_up(table: NDArray[np.int32], text: str) -> NDArray[np.int32]:
    """The entries of a table for the code points of a text; some at a time, which takes less memory."""
    found = np.empty(len(text), np.int32)
    for start in range(0, len(text), AT_ONCE):
        part = text[start : start + AT_ONCE]
        table.take(_code_points(part), mode="clip", out=found[start : start + len(part)])
    return found


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
