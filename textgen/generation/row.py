"""Generation: prompts in, text out, in chunks that change nothing.

Prompts of any lengths are read at once, right-padded; then a runtime writes chunks of ids, and rows that have ended
drop out of the batch. What a row writes depends on its prompt, the seed and its own seed; not on its neighbours, on the
chunk size, or on whether the text is streamed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from textgen.generation.request import FinishReason
from textgen.text.tokenizer import Tokenizer


class Row:
    """The text of a row under way."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str], end_id: int | None, drawn: Iterable[int]) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(text for text in stop if text)
        self._end_id = end_id
        self._told = 0
        self._searched = 0
        self.ids: list[int] = [int(i) for i in drawn]
        self.drawn = len(self.ids)
        self.text = tokenizer.decode(self.ids)
        self.finish_reason: FinishReason | None = None

    def extend(self, ids: NDArray[np.int32]) -> str:
        """Take drawn ids, up to an end; return the text that is certain by now and was not told yet."""
        new = [int(i) for i in ids]
        if self._end_id in new:
            new = new[: new.index(self._end_id) + 1]
            self.finish_reason = "eos"
        self.ids += new
        self.text += self._tokenizer.decode(new[:-1] if self.finish_reason == "eos" else new)
        self._cut_at_stop()
        return self._tell(len(self.text) if self.finish_reason else len(self.text) - self._held_back())

    def close(self) -> str:
        """End the row; return the text that was held back."""
        return self._tell(len(self.text))

    def _tell(self, end: int) -> str:
        piece, self._told = self.text[self._told : end], max(end, self._told)
        return piece

    def _cut_at_stop(self) -> None:
        hits = []
        for stop in self._stop:
            at = self.text.find(stop, max(0, self._searched - len(stop) + 1))
            if at >= 0:
                hits.append((at + len(stop), at))
        if hits:
            end, at = min(hits)
            self.finish_reason = "stop"
            kept = bisect_left(range(len(self.ids)), end, key=lambda n: len(self._tokenizer.decode(self.ids[:n])))
            self.ids = self.ids[:kept]
            self.text = self.text[:at]
        self._searched = len(self.text)

    def _held_back(self) -> int:
        """The length of the longest end of the text that may yet become a stop text."""
        longest = max((len(stop) for stop in self._stop), default=1) - 1
        for size in range(min(longest, len(self.text)), 0, -1):
            if any(stop.startswith(self.text[-size:]) for stop in self._stop):
                return size
        return 0
