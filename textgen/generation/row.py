"""One row of a batch while it is written: its ids, its text, and where it ends."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from textgen.generation.request import FinishReason
from textgen.generation.runtime import Ids
from textgen.generation.stop_texts import StopTexts
from textgen.model.state import State
from textgen.text.tokenizer import Tokenizer


class Row:
    """A row while it is written.

    Args:
        index: its place in the request.
        seed: its seed.
        prompt_ids: the ids that it reads before it writes, ``[n]`` int32.
        tokenizer: of the model.
        stop: texts that end it.
        end_id: the id that ends it, or ``None``.
        is_drawn: whether ``prompt_ids`` are a drawn first character, which is part of the text.

    Attributes:
        ids: every id of its text, up to its end.
        text: the text so far, without prompt, end of document and stop text.
        finish_reason: ``None`` until it has ended.
        state: before its last id is read; ``None`` unless the loop keeps it.
    """

    def __init__(
        self,
        index: int,
        seed: int,
        prompt_ids: Ids,
        tokenizer: Tokenizer,
        *,
        stop: Sequence[str],
        end_id: int | None,
        is_drawn: bool,
    ) -> None:
        self.index = index
        self.seed = seed
        self.prompt_ids = prompt_ids
        self.ids: list[int] = prompt_ids.tolist() if is_drawn else []
        self.text = tokenizer.decode(self.ids)
        self.finish_reason: FinishReason | None = None
        self.state: State | None = None
        self._tokenizer = tokenizer
        self._stop = StopTexts(stop)
        self._end_id = end_id
        self._drawn = self._before = len(self.ids)
        self._given = 0
        self._searched = 0

    @property
    def written(self) -> list[int]:
        """The ids that follow ``prompt_ids``."""
        return self.ids[self._drawn :]

    @property
    def new_ids(self) -> list[int]:
        """The ids that the last call of :meth:`extend` added."""
        return self.ids[self._before :]

    def extend(self, ids: NDArray[np.int32]) -> str:
        """Append drawn ids, up to the end of the row; return the new text that can no longer change."""
        self._before = len(self.ids)
        new = ids.tolist()
        if self._end_id in new:
            new = new[: new.index(self._end_id) + 1]
            self.finish_reason = "eos"
        self.ids += new
        self.text += self._tokenizer.decode(new[:-1] if self.finish_reason == "eos" else new)
        self._cut_at_stop()
        return self._give(len(self.text) if self.finish_reason else len(self.text) - self._stop.held_back(self.text))

    def close(self) -> str:
        """End the row; return the text that was held back."""
        return self._give(len(self.text))

    def _give(self, end: int) -> str:
        piece, self._given = self.text[self._given : end], max(end, self._given)
        return piece

    def _cut_at_stop(self) -> None:
        if hit := self._stop.find(self.text, self._searched):
            start, end = hit
            self.finish_reason = "stop"
            kept = bisect_left(range(len(self.ids)), end, key=lambda n: len(self._tokenizer.decode(self.ids[:n])))
            self.ids = self.ids[:kept]
            self.text = self.text[:start]
        self._searched = len(self.text)
