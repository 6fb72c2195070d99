"""``words``: frequent words, punctuation and white space; other words are spelled, or ``[UNK]``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import chain
from typing import Any, Literal, Self, TypeGuard

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from textgen import OnUnknown, PlainDecoder, Tokenizer, notice
from textgen.errors import ArtifactError, CorpusError, OptionError, UnknownCharacterError
from textgen.options import Options

#: Punctuation of ASCII, Latin-1, Arabic, Devanagari, and of all scripts, full width included; halves of characters.
#: Accents, joiners and emoji are not in it: they are parts of words.
_MARKS = (
    r"!-/:-@\[-`{-~\u00a1-\u00a9\u00ab\u00ac\u00ae-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u060c\u061b\u061f\u06d4\u0964\u0965"
    r"\u2010-\u2027\u2030-\u205e\u3001-\u3003\u3008-\u301f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
    r"\ud800-\udfff"
)

#: A word with apostrophes inside it, or a mark, each with at most one blank before it; or white space, but for the
#: last blank before other text.
PATTERN = rf" ?[^\s{_MARKS}]+(?:['’][^\s{_MARKS}]+)*| ?[{_MARKS}]|\s+(?= \S)|\s+"

#: The patterns that vocabularies may have: this one, and those of earlier versions. A pattern of somebody else could
#: take forever to match.
PATTERNS = (PATTERN,)

#: Longer words are never in the vocabulary.
LONGEST = 64

#: Words whose ids are kept, to be looked up once.
KEPT = 200_000


class WordsOptions(Options):
    """Options of :class:`Words`."""

    size: int = Field(2000, ge=0, description="Largest number of words, and of other tokens longer than a character.")
    min_count: int = Field(2, ge=1, description="Words that occur less often in the corpus are rare.")
    rare: Literal["spell", "unk"] = Field(
        "spell",
        description="What becomes of rare and unseen words: spell encodes their characters, unk encodes each word as "
        "[UNK], which is never written.",
    )
    on_unknown: OnUnknown | None = Field(
        None,
        description="What to do with an unseen character, and with rare=unk with a rare word: error "
        "names the first and its position, skip drops it, unk replaces it by [UNK] (with rare=unk only); by default "
        "error with rare=spell, unk with rare=unk.",
    )

    @model_validator(mode="after")
    def _check_unk(self) -> Self:
        if self.on_unknown == "unk" and self.rare == "spell":
            raise ValueError("on_unknown=unk needs rare=unk: there is no [UNK] where rare words are spelled")
        return self


class Words(Tokenizer):
    r"""Ids of words, each with the blank before it, of marks and of white space: no text changes on its way.

    The characters come first, by code point, then the words, most frequent first; then ``[UNK]``, if there is one, and
    ``<eos>``. White space and marks are never ``[UNK]`` if the corpus has their characters.

    Example:
        >>> tokenizer = Words(WordsOptions())
        >>> tokenizer.fit(["the cat and the hat: the cat, too"])
        >>> [tokenizer.decode([i]) for i in tokenizer.encode("the cat: a hat")]
        ['t', 'h', 'e', ' cat', ':', ' ', 'a', ' ', 'h', 'a', 't']
    """

    Options = WordsOptions
    options: WordsOptions
    has_eos = True

    def __init__(self, options: WordsOptions) -> None:
        super().__init__(options)
        self._spells = options.rare == "spell"
        self._on_unknown: OnUnknown = options.on_unknown or ("error" if self._spells else "unk")
        self._set([], PATTERN)

    def fit(self, texts: Iterable[str]) -> None:
        """Counts the words and the characters of all texts.

        Raises:
            CorpusError: if they have no character, or with rare=unk only rare words.
        """
        counts: Counter[str] = Counter()
        characters: set[str] = set()
        for text in texts:
            tokens = self._find(text)
            counts.update(token for token in tokens if len(token) <= LONGEST)
            characters.update(self._spelled(text, tokens))
        if not characters and not counts:
            raise CorpusError("the corpus has no text to build a vocabulary from; give it at least one character")
        kept = [token for token, count in counts.items() if count >= self.options.min_count and token not in characters]
        frequent = sorted(kept, key=lambda token: (-counts[token], token))[: self.options.size]
        if not self._spells:
            _report_rare({token: count for token, count in counts.items() if _is_word(token)}, set(frequent))
        self._set([*sorted(characters), *frequent], PATTERN)

    def _spelled(self, text: str, tokens: Iterable[str]) -> Iterable[str]:
        """The characters that must be in the vocabulary: of all tokens, or of all but words."""
        return text if self._spells else chain.from_iterable(t for t in set(tokens) if not _is_word(t))

    def _set(self, texts: Sequence[str], pattern: str) -> None:
        self.texts = list(texts)
        self._pattern = pattern
        self._find = re.compile(pattern).findall
        self._ids = {text: i for i, text in enumerate(texts)}
        self._all_texts = [*texts, *([] if self._spells else ["[UNK]"]), "\n"]
        self._kept: dict[OnUnknown, _Kept] = {}

    def encode(self, text: str, on_unknown: OnUnknown | None = None) -> NDArray[np.int32]:
        way = on_unknown or self._on_unknown
        if way == "unk" and self._spells:
            raise OptionError("words has no [UNK] with rare=spell; use --on-unknown error or skip")
        if way not in self._kept:
            self._kept[way] = _Kept(self, way)
        kept = self._kept[way]
        tokens = self._find(text)
        try:
            return np.fromiter(chain.from_iterable(map(kept.__getitem__, tokens)), np.int32)
        except _UnknownTokenError as error:
            before = sum(map(len, tokens[: tokens.index(error.token)]))
            raise UnknownCharacterError(error.piece, before + error.at, self._other_ways) from None

    def encode_batch(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """With rare=unk, the rare words that a corpus still contains are ``[UNK]``, whatever on_unknown is."""
        parts = [self.encode(text, None if self._spells else "unk") for text in texts]
        return np.concatenate(parts), np.fromiter(map(len, parts), np.int64, len(parts))

    def encode_token(self, token: str, way: OnUnknown) -> tuple[int, ...]:
        """The ids of a token of a text: a word, a mark or white space."""
        if token in self._ids:
            return (self._ids[token],)
        if not self._spells and _is_word(token):
            if way == "error":
                word = token.lstrip(" ")
                raise _UnknownTokenError(token, word, len(token) - len(word))
            return (self._unk,) if way == "unk" else ()
        ids = []
        for at, character in enumerate(token):
            if character in self._ids:
                ids.append(self._ids[character])
            elif way == "error":
                raise _UnknownTokenError(token, character, at)
            elif way == "unk":
                ids.append(self._unk)
        return tuple(ids)

    def decode(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        return "".join([self._all_texts[i] for i in ids])

    def decoder(self) -> PlainDecoder:
        return PlainDecoder(self.decode)

    @property
    def characters_per_id(self) -> NDArray[np.int32]:
        counts = np.array([len(text) for text in self._all_texts], np.int32)
        if self.unk_id is not None:
            counts[self.unk_id] = 1
        return counts

    def grow(self, texts: Iterable[str]) -> NDArray[np.int32]:
        """Adds new characters after what is known, before the special ids; words are not added."""
        characters: set[str] = set()
        for text in texts:
            characters.update(self._spelled(text, self._find(text)))
        known, specials = len(self.texts), len(self._all_texts) - len(self.texts)
        new = sorted(characters - self._ids.keys())
        self._set([*self.texts, *new], self._pattern)
        before = [*range(known), *[-1] * len(new), *range(known, known + specials)]
        return np.array(before, np.int32)

    @property
    def _unk(self) -> int:
        return len(self.texts)

    @property
    def _other_ways(self) -> tuple[OnUnknown, ...]:
        return ("skip",) if self._spells else ("skip", "unk")

    @property
    def vocab_size(self) -> int:
        return len(self._all_texts)

    @property
    def unk_id(self) -> int | None:
        return None if self._spells else self._unk

    @property
    def eos_id(self) -> int:
        return len(self._all_texts) - 1

    def to_json(self) -> dict[str, Any]:
        return {"texts": self.texts, "pattern": self._pattern}

    def load_json(self, vocabulary: Mapping[str, Any]) -> None:
        texts, pattern = vocabulary.get("texts"), vocabulary.get("pattern")
        if not (set(vocabulary) == {"texts", "pattern"} and pattern in PATTERNS and _are_texts(texts)):
            raise ArtifactError(
                'the vocabulary is not {"texts": [...], "pattern": "..."} of distinct texts and a pattern of words; '
                "restore it or train again"
            )
        self._set(texts, pattern)


class _Kept(dict[str, tuple[int, ...]]):
    """The ids of the words that were looked up."""

    def __init__(self, tokenizer: Words, way: OnUnknown) -> None:
        super().__init__()
        self._tokenizer, self._way = tokenizer, way

    def __missing__(self, token: str) -> tuple[int, ...]:
        ids = self._tokenizer.encode_token(token, self._way)
        if len(token) <= LONGEST:
            if len(self) >= KEPT:
                self.clear()
            self[token] = ids
        return ids


class _UnknownTokenError(Exception):
    """A token that cannot be encoded: it, the unknown part of it, and the index of this part in it."""

    def __init__(self, token: str, piece: str, at: int) -> None:
        self.token, self.piece, self.at = token, piece, at


def _report_rare(words: Mapping[str, int], known: Set[str]) -> None:
    """Reports how many words become ``[UNK]``, given the counts of all and those in the vocabulary."""
    rare = [count for word, count in words.items() if word not in known]
    if words and len(rare) == len(words):
        raise CorpusError(
            "each word of the corpus would be [UNK]: lower tokenizer.min_count, raise tokenizer.size, or use "
            "tokenizer.rare=spell"
        )
    if rare:
        notice(f"{len(rare):,} of {len(words):,} words are rare, {sum(rare):,} times in all; they become [UNK]")


def _is_word(token: str) -> bool:
    return re.fullmatch(rf"[\s{_MARKS}]+", token) is None


def _are_texts(texts: object) -> TypeGuard[list[str]]:
    if not (isinstance(texts, list) and texts):
        return False
    if not all(isinstance(text, str) and 1 <= len(text) <= LONGEST for text in texts):
        return False
    return len(set(texts)) == len(texts)
