"""Decoding ids while they are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen.errors import PluginError

#: What decoding shows for bytes that are not a whole character.
INCOMPLETE = "\ufffd"

#: Decoded ids that are decoded again with those that follow: an id's text may depend on the ids right before it.
CONTEXT = 8


class Decoder:
    r"""Turns ids into text as they come: the pieces, one after the other, are the text of all ids.

    Text that the next ids may change is held back. That is a last ``U+FFFD``, which stands for the first bytes of a
    character. The text of an id may depend on the ids right before it, as where words are joined by blanks.

    Args:
        decode: returns the text of ids, as :meth:`textgen.Tokenizer.decode` does.

    Example:
        >>> decoder = Decoder(lambda ids: bytes(ids).decode("utf-8", "replace"))
        >>> [decoder.feed([i]) for i in "aé".encode()], decoder.flush()
        (['a', '', 'é'], '')
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._given = 0  # characters of the text of these ids

    def feed(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        """Returns the text that ids add, but for an incomplete character at its end."""
        self._ids += [int(i) for i in ids]
        text = self._decode(self._ids)
        if not isinstance(text, str):
            owner = type(getattr(self._decode, "__self__", self))
            raise PluginError(
                f"the tokenizer decodes ids to {type(text).__name__}, which is not a text: report this to the author "
                f"of {owner.__module__}.{owner.__name__}"
            )
        held = text.endswith(INCOMPLETE)
        piece = text[self._given : len(text) - held]
        self._given = max(self._given, len(text) - held)
        if not held and len(self._ids) > CONTEXT:
            del self._ids[:-CONTEXT]
            self._given = len(self._decode(self._ids))
        return piece

    def flush(self) -> str:
        """Returns the text that was held back; no ids may follow."""
        return self._decode(self._ids)[self._given :]


class PlainDecoder(Decoder):
    """The decoder of a tokenizer whose ids each have a text of their own: ``decode(a + b) = decode(a) + decode(b)``."""

    def feed(self, ids: Sequence[int] | NDArray[np.integer[Any]]) -> str:
        return self._decode(ids)  # type: ignore[arg-type]

    def flush(self) -> str:
        return ""
