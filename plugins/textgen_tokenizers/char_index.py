"""``char-index``: characters only, from 0."""

from __future__ import annotations

from pydantic import Field, field_validator

from textgen import OnUnknown
from textgen_tokenizers.characters import ON_UNKNOWN, CharacterOptions, CharacterTokenizer


class CharIndexOptions(CharacterOptions):
    """Options of :class:`CharIndex`."""

    on_unknown: OnUnknown = Field("error", description=f"{ON_UNKNOWN}, which char-index does not have.")

    @field_validator("on_unknown")
    @classmethod
    def _refuse_unk(cls, value: OnUnknown) -> OnUnknown:
        if value == "unk":
            raise ValueError("char-index has no unknown id; use error or skip")
        return value


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
