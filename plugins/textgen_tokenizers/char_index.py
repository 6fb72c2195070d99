"""``char-index``: characters only, from 0."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from textgen_tokenizers.characters import CharacterOptions, CharacterTokenizer


class CharIndexOptions(CharacterOptions):
    """Options of :class:`CharIndex`."""

    on_unknown: Literal["error", "skip"] = Field(
        "error",
        description="What to do with characters outside the vocabulary: error names the first and its position, skip "
        "drops them.",
    )


class CharIndex(CharacterTokenizer):
    """Characters from 0, by code point, without special tokens.

    Example:
        >>> tokenizer = CharIndex(CharIndexOptions())
        >>> tokenizer.fit(["abba", "cab"])
        >>> tokenizer.encode("cab").tolist()
        [2, 0, 1]
    """

    Options = CharIndexOptions

    def __init__(self, options: CharIndexOptions) -> None:
        super().__init__(options)
        self.on_unknown = options.on_unknown
