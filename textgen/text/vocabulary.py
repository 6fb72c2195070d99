"""The parts of a typed text that a fitted tokenizer knows, and the characters that its ids can write."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from textgen.errors import UnknownCharacterError
from textgen.text.decoder import INCOMPLETE
from textgen.text.tokenizer import OnUnknown, Tokenizer

#: The vowels and final consonants of Hangul, which join the character before them as combining marks do.
_HANGUL = range(0x1160, 0x1200)

#: The parts in which a text is searched for unknown pieces: cut before white space, if there is any.
_PARTS = re.compile(r"(?s:.){1,512}(?:\Z|(?=\s))|(?s:.){1,512}")


@dataclass(frozen=True, kw_only=True)
class Unknown:
    """A character of a text that the vocabulary lacks, or a longer piece such as a word.

    Attributes:
        character: the text, at least one code point.
        position: the index of its first occurrence, from 0, in code points.
        count: the number of its occurrences.
        treatment: ``"unk"`` if the unknown id stands for it, ``"skip"`` if it was left out.
        composed: the character that it forms with those around it, if the vocabulary has that.
    """

    character: str
    position: int
    count: int
    treatment: Literal["unk", "skip"]
    composed: str | None = None


def find_unknown(tokenizer: Tokenizer, text: str, on_unknown: OnUnknown | None = None) -> tuple[Unknown, ...]:
    """Finds the pieces of a text that the vocabulary lacks, in the order of their first positions.

    Raises:
        UnknownCharacterError: under ``"error"``.
        OptionError: under ``"unk"``, if the tokenizer has no unknown id.
    """
    places: dict[str, list[int]] = {}
    for piece, position, count in _unknown_pieces(tokenizer, text):
        first, before = places.get(piece, (position, 0))
        places[piece] = [first, before + count]
    return tuple(
        Unknown(
            character=piece,
            position=position,
            count=count,
            treatment="unk" if len(tokenizer.encode(piece, on_unknown)) else "skip",
            composed=composed_form(tokenizer, text, position),
        )
        for piece, (position, count) in sorted(places.items(), key=lambda item: item[1])
    )


def _unknown_pieces(tokenizer: Tokenizer, text: str) -> Iterator[tuple[str, int, int]]:
    """Yields unknown pieces with their position and number, part by part of a text.

    A tokenizer reports one unknown piece at a time, so the time is quadratic in the length of a part.
    """
    filler = None
    for part in _PARTS.finditer(text):
        if not _is_known(tokenizer, part[0]):
            filler = filler or _known_character(tokenizer, text)
            for piece, position, count in _unknown_in_part(tokenizer, part[0], filler):
                yield piece, part.start() + position, count


def _unknown_in_part(tokenizer: Tokenizer, text: str, filler: str | None) -> Iterator[tuple[str, int, int]]:
    """Yields unknown pieces; a character once, with all its occurrences, if there is a known one to replace it by."""
    start = 0
    while True:
        try:
            tokenizer.encode(text[start:], "error")
            return
        except UnknownCharacterError as error:
            piece, position = error.character, start + error.position
        count = text.count(piece, start)
        if len(piece) == 1 and filler and count:
            yield piece, position, count
            text = text.replace(piece, filler)  # of the same length, so that positions stay
        else:
            yield piece, position, 1
            start = position + max(1, len(piece))


def _known_character(tokenizer: Tokenizer, text: str) -> str | None:
    """A character that the vocabulary has, preferably a blank."""
    candidates = chain([" "], dict.fromkeys(text), _texts(tokenizer))
    return next((each for each in candidates if len(each) == 1 and _is_known(tokenizer, each)), None)


def composed_form(tokenizer: Tokenizer, text: str, position: int) -> str | None:
    """The character that combining marks at a position form with the one before, if the vocabulary has it only so."""
    start, end = position, position + 1
    while start and _joins(text[start]):
        start -= 1
    while end < len(text) and _joins(text[end]):
        end += 1
    composed = unicodedata.normalize("NFC", text[start:end])
    return composed if composed != text[start:end] and _is_known(tokenizer, composed) else None


def _joins(character: str) -> bool:
    return unicodedata.combining(character) != 0 or ord(character) in _HANGUL


def _is_known(tokenizer: Tokenizer, text: str) -> bool:
    try:
        tokenizer.encode(text, "error")
    except UnknownCharacterError:
        return False
    return True


def as_in_training(tokenizer: Tokenizer, text: str, normalization: Literal["NFC"] | None = None) -> str:
    r"""A text as the training text would have it.

    Line ends ``\r\n`` and ``\r`` become ``\n``, and a byte-order mark at the beginning is removed, unless the training
    text had them.

    Args:
        tokenizer: fitted.
        text: a prompt, or a text that ends a generation.
        normalization: the normal form of the training text.
    """
    if text.startswith("\ufeff") and not writes(tokenizer, "\ufeff"):
        text = text[1:]
    if "\r" in text and not writes(tokenizer, "\r"):
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return unicodedata.normalize(normalization, text) if normalization else text


def writes(tokenizer: Tokenizer, character: str, *, but: int | None = None) -> bool:
    """Whether an id stands for a character, or for a longer text with it.

    A tokenizer of bytes can write any character: there, only ids that stand for several characters count, which it has
    learned from the training text.

    Args:
        tokenizer: fitted.
        character: of one code point.
        but: an id that does not count, as that of an end of document.
    """
    texts = _texts(tokenizer)
    shortest = 2 if _are_bytes(texts) else 1
    return any(character in text and len(text) >= shortest for i, text in enumerate(texts) if i != but)


def unwritable(tokenizer: Tokenizer, text: str) -> list[str]:
    """The characters of a text that no id can write, each once, in order."""
    texts = _texts(tokenizer)
    known = set().union(*texts)
    return [] if _are_bytes(texts) else [character for character in dict.fromkeys(text) if character not in known]


def spans_lines(
    tokenizer: Tokenizer, end_id: int | None, prompts: Iterable[str] = (), *, multiline: bool | None = None
) -> bool:
    r"""Whether generated texts may have several lines: shown one after the other, an empty line then separates them.

    Args:
        tokenizer: fitted.
        end_id: the id that ends a text, which may be that of a newline; ``None`` if nothing but the length ends it.
        prompts: what the texts continue.
        multiline: whether a training document has several lines; ``None`` if this was not recorded, so that the
            vocabulary decides.
    """
    if end_id is None or any("\n" in prompt for prompt in prompts):
        return True
    return writes(tokenizer, "\n", but=end_id) if multiline is None else multiline


def _texts(tokenizer: Tokenizer) -> list[str]:
    """The text of each id."""
    return [tokenizer.decode([i]) for i in range(tokenizer.vocab_size)]


def _are_bytes(texts: list[str]) -> bool:
    """Whether ids stand for parts of characters."""
    return texts.count(INCOMPLETE) > 1
