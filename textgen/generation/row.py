"""One row of a batch while it is written: its ids, its text, and where it ends."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from textgen.generation.request import FinishReason, Request, Token
from textgen.generation.runtime import Ids
from textgen.generation.stop_texts import StopTexts
from textgen.model.state import State
from textgen.sampling.chain import Chain
from textgen.text.decoder import CONTEXT
from textgen.text.tokenizer import Tokenizer

#: Ids of a prompt that are decoded at once, so that memory does not grow with it.
READ_AT_ONCE = 4096

NO_NUMBERS = np.empty(0, np.float32)

#: The most ids that a character takes: bytes of UTF-8. A row that writes ids without text ends all the same.
MOST_IDS_PER_CHARACTER = 4


class Ending(NamedTuple):
    """What a row has become; for its attributes, see :class:`Row`."""

    finish_reason: FinishReason | None
    text: str
    stop_text: str
    unread: int
    log_probability: float
    log_probabilities: list[float]
    state: State | None


class Row:
    """A row while it is written.

    Args:
        request: that it belongs to.
        index: its place in the request.
        prompt_ids: the ids that it reads before it writes, ``[n]`` int32.
        chain: that draws its ids: that of the request, or the same in a common form.
        tokenizer: of the model.
        stop: the stop texts of the request.
        end_id: the id that ends it, or ``None``.
        is_drawn: whether ``prompt_ids`` are a drawn first id, which is part of the text. The request's length does not
            count it.

    Attributes:
        chain: that draws its ids.
        is_drawn: as given.
        end_id: as given.
        ids: those that were drawn, up to the one that ended the row.
        text: the text so far; without the end and the stop text, and no longer than the request's length. Without a
            prompt, a continuation begins with characters of the text before that were cut off.
        unread: the number of characters of the text of ``ids`` that follow the end of ``text`` and of the stop text.
        finish_reason: why the row ended; ``None`` while it is written.
        stop_text: the stop text that ended it; empty if none did.
        log_probability: of the ids that were written (nats), if the request asks for it.
        log_probabilities: of each of them.
        state: the state before the last id, if the request asks for it and the row has ended.
        drawn_count: the number of ``ids`` that are a drawn first id.
    """

    def __init__(
        self,
        request: Request,
        index: int,
        prompt_ids: Ids,
        chain: Chain,
        tokenizer: Tokenizer,
        *,
        stop: StopTexts,
        end_id: int | None = None,
        is_drawn: bool = False,
    ) -> None:
        before = request.continuation
        self.request = request
        self.index = index
        self.seed = request.row_seed(index)
        self.chain = chain
        self.prompt_ids = prompt_ids
        self.is_drawn = is_drawn
        self.ids: list[int] = prompt_ids.tolist() if is_drawn else []
        self.text = ""
        self.unread = 0
        self.finish_reason: FinishReason | None = None
        self.stop_text = ""
        self.log_probability = 0.0
        self.log_probabilities: list[float] = []
        self.state: State | None = None
        self.drawn_count = len(self.ids)
        self._tokenizer = tokenizer
        self._search = stop.search() if request.stop else None
        self.end_id = end_id
        self._extended_from = self.drawn_count
        self._most_ids = self.drawn_count + request.length * MOST_IDS_PER_CHARACTER
        self._given_length = 0
        self._decoder = tokenizer.decoder()
        if is_drawn:
            self.text = self._decoder.feed(self.ids)
        elif before and len(prompt_ids) == 1:
            read = self._decoder.feed(self._read)
            self.text = read[len(read) - before.unread :]
        else:
            for start in range(0, len(prompt_ids), READ_AT_ONCE):
                self._decoder.feed(prompt_ids[start : start + READ_AT_ONCE])
        self._lead = self.text
        self._uniforms = NO_NUMBERS  # of steps from this one on
        self._uniforms_from = 0
        self._length_limit = request.length + (len(self.text) if is_drawn else 0)
        if before:
            self._end_within(len(self.text))

    @property
    def _read(self) -> list[int]:
        """The last ids that were read: the text of an id may depend on the ids before it."""
        before = self.request.continuation
        return [*(before.tail[:-1] if before else ()), *self.prompt_ids[-CONTEXT:].tolist()][-CONTEXT:]

    @property
    def is_endless(self) -> bool:
        """Whether the row is sure to be written to its full length."""
        return self.end_id is None and not self.request.stop

    @property
    def seen(self) -> NDArray[np.int32]:
        """The ids that occur in what was read and written, ``[n]`` int32; they may repeat."""
        before = self.request.continuation
        parts = [self.prompt_ids, self.written, before.seen if before else ()]
        return np.concatenate([np.asarray(part, np.int32) for part in parts])

    @property
    def step(self) -> int:
        """The next step of the row's randomness; step 0 is reserved for a first id."""
        before = self.request.continuation
        return 1 + (before.step if before else 0) + len(self.ids) - self.drawn_count

    def kept_uniforms(self, steps: int) -> NDArray[np.float32]:
        """The random numbers of the next steps, as far as they were kept, ``[n]`` float32."""
        first = self.step - self._uniforms_from
        return self._uniforms[first : first + steps]

    def keep_uniforms(self, numbers: NDArray[np.float32]) -> None:
        """Keep the random numbers of the next steps, ``[n]`` float32, until the row has ended."""
        self._uniforms, self._uniforms_from = numbers, self.step

    @property
    def written(self) -> list[int]:
        """The ids that follow ``prompt_ids``."""
        return self.ids[self.drawn_count :]

    def tokens(self) -> tuple[Token, ...]:
        """The text that each written id has added, with its log-probability; before them the text that was not scored.

        For a row that has ended, and that asks for its log-probability.
        """
        decoder = self._tokenizer.decoder()
        decoder.feed(self._read)
        tokens = [Token(self._lead, None)] if self._lead else []
        for token_id, value in zip(self.written, self.log_probabilities, strict=True):
            is_end = self.finish_reason == "eos" and token_id == self.end_id
            tokens.append(Token(decoder.flush() if is_end else decoder.feed([token_id]), value))
        return tuple(tokens)

    @property
    def new_ids(self) -> list[int]:
        """The ids that the last call of :meth:`extend` added."""
        return self.ids[self._extended_from :]

    def tail(self, upto: int | None = None) -> list[int]:
        """The last ids that were read or written.

        Args:
            upto: the number of :attr:`ids` to consider; by default all.
        """
        return [*self._read, *self.ids[self.drawn_count : upto]][-CONTEXT:]

    @property
    def characters_left(self) -> int:
        """The number of characters that may still be written."""
        return self._length_limit - len(self.text)

    @property
    def ids_left(self) -> int:
        """The number of ids that may still be drawn."""
        return self._most_ids - len(self.ids)

    def extend(self, ids: list[int]) -> str:
        """Append drawn ids, up to the end of the row; return the new text that can no longer change."""
        self._extended_from, start, left = len(self.ids), len(self.text), self.ids_left
        new = ids[:left]
        if is_ended := self.end_id is not None and self.end_id in new:
            new = new[: new.index(self.end_id)]
        self.ids += new
        if new:
            self.text += self._decoder.feed(new)
        if self._search or len(self.text) >= self._length_limit:
            self._end_within(start)
        if self.finish_reason is None and is_ended:
            self._end_document()
        if self.finish_reason is None and len(ids) >= left:
            self.finish_reason = "length"
        if self.finish_reason is not None:
            self._uniforms = NO_NUMBERS
        held_back = self._search.held_back if self._search and self.finish_reason is None else 0
        return self._give(len(self.text) - held_back)

    @property
    def ending(self) -> Ending:
        """What the row has become, for :meth:`follow`; it can be pickled."""
        state = self.state and self.state.copy()  # one on a device comes to the host
        return Ending(
            self.finish_reason,
            self.text,
            self.stop_text,
            self.unread,
            self.log_probability,
            self.log_probabilities,
            state,
        )

    def follow(self, ids: list[int], ending: Ending | None) -> None:
        """Take over what the same row of another process has become.

        Args:
            ids: that it has written since.
            ending: its :attr:`ending`, once it has ended.
        """
        self.ids += ids
        if ending is not None:
            self.finish_reason, self.text, self.stop_text, self.unread, *_ = ending
            *_, self.log_probability, self.log_probabilities, self.state = ending

    def cancel(self) -> None:
        """End the row where it is; its text is what :meth:`extend` has returned."""
        if self.finish_reason is None:
            self.finish_reason = "cancelled"
            self._uniforms = NO_NUMBERS
            self.text = self.text[: self._given_length]

    def rest(self) -> str:
        """The text of a row that has ended, as far as :meth:`extend` has not returned it."""
        return self._give(len(self.text))

    def _give(self, end: int) -> str:
        piece, self._given_length = self.text[self._given_length : end], max(end, self._given_length)
        return piece

    def _end_document(self) -> None:
        """End the row by its end id, which also shows that the text held back can no longer change."""
        assert self.end_id is not None
        self.ids.append(self.end_id)
        self.text = (self.text + self._decoder.flush())[: self._length_limit]
        self.finish_reason = "eos"
        if hit := self._find_stop():
            self.text, self.stop_text, self.finish_reason = self.text[: hit[0]], self.text[hit[0] :], "stop"

    def _find_stop(self) -> tuple[int, int] | None:
        """Where a stop text begins and ends in the text that was not yet searched."""
        return self._search.feed(self.text[self._search.read :]) if self._search else None

    def _end_within(self, start: int) -> None:
        """End the row if its text has a stop text, or its length; the new ids have the characters from ``start`` on."""
        hit = self._find_stop()
        if hit and hit[1] <= self._length_limit:
            self._cut(start, hit[1], "stop")
            self.text, self.stop_text = self.text[: hit[0]], self.text[hit[0] :]
        elif len(self.text) >= self._length_limit:
            self._cut(start, self._length_limit, "length")

    def _cut(self, start: int, end: int, reason: FinishReason) -> None:
        """End the row after ``end`` characters, of which the new ids have those from ``start`` on."""
        kept, characters = self._count_ids(end - start, len(self.text) - start)
        del self.ids[self._extended_from + kept :]
        self.text = self.text[:end]
        self.unread = start + characters - end
        self.finish_reason = reason

    def _count_ids(self, characters: int, total: int) -> tuple[int, int]:
        """The number of new ids that it takes to write some characters, and the number that they do write.

        Args:
            characters: those to write.
            total: those that all new ids write.
        """
        new = self.new_ids

        def written(first: int, count: int) -> int:
            """The number of characters that some new ids write."""
            decoder = self._tokenizer.decoder()
            decoder.feed(self.tail(self._extended_from + first))
            return len(decoder.feed(new[first : first + count]))

        # As a rule all are needed, since a row is written up to its length: then only the last one is decoded again.
        if new and total - written(len(new) - 1, 1) < characters:
            return len(new), total
        count = bisect_left(range(len(new)), characters, key=lambda count: written(0, count))
        return count, written(0, count)
