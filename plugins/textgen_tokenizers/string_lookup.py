"""``string-lookup``: the ids of ``keras.layers.StringLookup``."""

from __future__ import annotations

from pydantic import Field

from textgen import OnUnknown
from textgen_tokenizers.characters import ON_UNKNOWN, CharacterTokenizer, RareOptions


class StringLookupOptions(RareOptions):
    """Options of :class:`StringLookup`."""

    on_unknown: OnUnknown = Field("unk", description=f"{ON_UNKNOWN}.")


class StringLookup(CharacterTokenizer):
    """``[UNK]`` is 0; the characters follow from 1, by code point.

    The ids are those of ``keras.layers.StringLookup(vocabulary=sorted(set(text)), mask_token=None)``, except that of
    NUL: Keras reserves an id for it but never finds it; here, NUL has that id.

    Example:
        >>> tokenizer = StringLookup(StringLookupOptions())
        >>> tokenizer.fit(["abba", "cab"])
        >>> tokenizer.encode("cat").tolist()
        [3, 1, 0]
        >>> tokenizer.decode([3, 1, 0])
        'ca[UNK]'
    """

    Options = StringLookupOptions
    leading = ("[UNK]",)
    unk_id = 0

    def __init__(self, options: StringLookupOptions) -> None:
        super().__init__(options)
        self.drops_rare = options.rare == "drop"
        self.on_unknown = options.on_unknown
