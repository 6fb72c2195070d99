"""``char-eos``: characters between padding and an end-of-document id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from textgen import OnUnknown
from textgen_tokenizers.characters import ON_UNKNOWN, CharacterTokenizer, RareOptions

Order = Literal["sorted", "frequency"]

DEFAULT_ON_UNKNOWN: dict[Order, OnUnknown] = {"sorted": "unk", "frequency": "skip"}


class CharEosOptions(RareOptions):
    """Options of :class:`CharEos`."""

    order: Order = Field(
        "sorted",
        description="Order of the ids of characters: sorted by code point, or by frequency, most frequent first "
        "(ties go to the first to appear).",
    )
    on_unknown: OnUnknown | None = Field(
        None, description=f"{ON_UNKNOWN}, 0; by default unk with the order sorted, skip with frequency."
    )


class CharEos(CharacterTokenizer):
    r"""0 is padding and unknown; the characters follow from 1; ``<eos>`` is last.

    With ``order="frequency"``, the ids of characters are those of Keras's ``Tokenizer(char_level=True, lower=False)``.

    Example:
        >>> tokenizer = CharEos(CharEosOptions(order="frequency"))
        >>> tokenizer.fit(["cab", "abba"])
        >>> tokenizer.encode("cab").tolist(), tokenizer.eos_id
        ([3, 1, 2], 4)
        >>> tokenizer.decode([3, 1, 2, 4, 0, 0])
        'cab\n'
    """

    Options = CharEosOptions
    has_eos = True
    leading = ("",)
    trailing = ("\n",)
    pad_id = 0
    unk_id = 0

    def __init__(self, options: CharEosOptions) -> None:
        super().__init__(options)
        self.order = options.order
        self.drops_rare = options.rare == "drop"
        self.on_unknown = options.on_unknown or DEFAULT_ON_UNKNOWN[options.order]

    @property
    def eos_id(self) -> int:
        return self.vocab_size - 1

    def order_characters(self, counts: Mapping[str, int]) -> Sequence[str]:
        if self.order == "frequency":
            return [character for character, _ in Counter(counts).most_common()]
        return super().order_characters(counts)
