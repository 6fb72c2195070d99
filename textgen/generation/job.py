"""A request while it is written, and what happens to its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textgen.generation.continuation import Continuation
from textgen.generation.prompts import ReadPrompt
from textgen.generation.request import FinishReason, Generation, Request
from textgen.generation.row import Row
from textgen.text.labels import label_of
from textgen.text.tokenizer import Tokenizer
from textgen.text.vocabulary import Unknown


class Job:
    """A request while it is written.

    Args:
        request: what is asked for.
        rows: of the request, in order; nothing has run yet.
        read: the prompt of each row.
        tokenizer: of the model.

    Attributes:
        request: what is asked for.
        rows: with their ids, text and finish reason, as they are written.
        error: what ended the job, if it failed.
        began: when its first row got a place, by ``time.perf_counter``; ``None`` while all of them wait.
    """

    def __init__(self, request: Request, rows: Sequence[Row], read: Sequence[ReadPrompt], tokenizer: Tokenizer) -> None:
        self.request = request
        self.rows = list(rows)
        self.error: Exception | None = None
        self.began: float | None = None
        self._read = read
        self._tokenizer = tokenizer
        self._left = len(self.rows)

    @property
    def is_done(self) -> bool:
        """Whether all rows have ended, or the job has failed."""
        return not self._left or self.error is not None

    def generations(self) -> list[Generation]:
        """The texts of a job that is done, in the order of the request's prompts.

        Raises:
            Exception: what ended the job, if it failed.
        """
        if self.error is not None:
            raise self.error
        return [self.generation(index) for index in range(len(self.rows))]

    def prompt_tokens(self, index: int) -> int:
        """The number of ids of a row's own prompt: without a label, a drawn first id, and one of a continued text."""
        row = self.rows[index]
        if row.is_drawn:
            return 0
        is_continued = self.request.continuation is not None
        return len(row.prompt_ids) - (is_continued or label_of(self._tokenizer, row.prompt_ids[:1]) is not None)

    def unknown(self, index: int) -> tuple[Unknown, ...]:
        """The pieces of a row's prompt that the vocabulary lacks."""
        return self._read[index].unknown

    def generation(self, index: int) -> Generation:
        """The text of a row that has ended, by its index in the request."""
        request, row = self.request, self.rows[index]
        assert row.finish_reason is not None
        before = request.continuation.seen if request.continuation else ()
        return Generation(
            prompt=request.prompts[row.index],
            # The label comes first, or somewhere in the text that the row continues.
            label=label_of(self._tokenizer, [*before, int(row.prompt_ids[0])]),
            text=row.text,
            ids=tuple(row.ids),
            seed=request.seed,
            row=row.seed,
            sampler=request.chains[row.index].text,
            finish_reason=row.finish_reason,
            unknown=self.unknown(index),
            log_probability=row.log_probability if request.score else None,
            tokens=row.tokens() if request.score else None,
            continuation=_continuation(row),
        )


@dataclass(slots=True)  # a frozen one takes three times as long to make
class Event:
    """What a turn did to a row.

    Attributes:
        job: that the row belongs to.
        index: of the row in its request.
        text: new text that can no longer change; may be empty.
        finish_reason: why the row ended, in its last event.
    """

    job: Job
    index: int
    text: str
    finish_reason: FinishReason | None


@dataclass(frozen=True, slots=True)
class Failed:
    """A job that failed; the other jobs go on.

    Attributes:
        job: all of whose rows have ended.
        error: what was raised.
    """

    job: Job
    error: Exception


def _continuation(row: Row) -> Continuation | None:
    """The point after the end of a row, if its state was kept."""
    if row.state is None:
        return None
    return Continuation(
        state=row.state,
        tail=tuple(row.tail()),
        unread=row.unread,
        step=row.step - 1,
        seen=tuple(np.unique(row.seen).tolist()),
        seed=row.request.seed,
        row=row.seed,
    )
