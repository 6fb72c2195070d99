"""What the model thinks of tokens: log-probabilities of those of a text, and of those that may follow one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Sequence

import numpy as np

from textgen import Job, State, TextGenerator, score
from textgen_serve.protocol.answers import Logprobs, NextToken
from textgen_serve.served_run import ServedRun

#: Ids that are read between two turns: others wait for them.
READ_AT_ONCE = 256

#: The most tokens that may follow of which a client is told.
MOST_NEXT = 200

Pieces = Generator[None, None, None]


class TokenScorer:
    """The log-probabilities of the tokens of a row while it is written.

    Args:
        run: that writes it.
        job: of the row.
        index: of the row in its request.
        most: likeliest tokens to name at each place.
        echoes: whether the tokens of the prompt count, too.
        writes: whether those that are written count.

    Attributes:
        texts: what each token adds to the text; nothing for the end of a document.
        offsets: where it does.
        scores: the log-probability of each (nats, temperature 1); ``None`` for a first one.
        tops: the likeliest tokens at each place, by their texts.
    """

    def __init__(self, run: ServedRun, job: Job, index: int, *, most: int, echoes: bool, writes: bool) -> None:
        generator, before = run.generator, job.request.continuation
        self._runtime, self._tokenizer = generator.runtime, generator.tokenizer
        self._end_id = None if job.request.ignore_eos else generator.boundaries.end_id
        self._most = most
        self._state = before.state if before else generator.runtime.initial_state(1)  # before the last id
        self._last: int | None = None
        self._decoder = self._tokenizer.decoder()
        if before:
            self._decoder.feed(before.tail[:-1])
        self._row, self._writes = job.rows[index], writes
        prompt = [] if self._row.is_drawn else self._row.prompt_ids.tolist()
        unseen = (1 if prompt and run.is_label(prompt[0]) else 0) if echoes else len(prompt)
        self._prompt, self._echoed = prompt[:unseen], prompt[unseen:]
        self._prompt_text = job.request.prompts[self._row.index] if echoes else ""
        # A text that is continued may begin with the rest of a token.
        self._end = before.unread if before and len(self._row.prompt_ids) == 1 else 0
        self._written = 0
        self.texts: list[str] = []
        self.offsets: list[int] = []
        self.scores: list[float | None] = []
        self.tops: list[dict[str, float] | None] = []

    def read(self) -> Pieces:
        """Read the prompt, in pieces."""
        for piece in _cut(self._prompt):
            self._decoder.feed(piece)
            if unread := [*([] if self._last is None else [self._last]), *piece[:-1]]:
                self._state = self._runtime.prefill(np.array([unread], np.int32), self._state)
            self._last = piece[-1]
            yield
        yield from self._add(self._echoed, self._prompt_text)
        self._end = max(self._end, len(self._prompt_text))

    def read_written(self) -> Pieces:
        """Read what has been written since, in pieces."""
        if self._writes:
            new = self._row.ids[self._written :]
            self._written += len(new)
            yield from self._add(new)
            # The last bytes of a text that has reached its length may be those of half a character. Between the pieces
            # more may have been written: then these bytes are not the last ones.
            missing = len(self._prompt_text) + len(self._row.text) - self._end
            has_read_all = self._row.finish_reason == "length" and self._written == len(self._row.ids)
            if has_read_all and missing > 0 and self.texts:
                self.texts[-1] += self._decoder.flush()[:missing]

    def _add(self, ids: Sequence[int], text: str = "") -> Pieces:
        """Add the tokens of a text, of which some characters may have been skipped; of a new one by default."""
        for piece in _cut(ids):
            for each in piece:
                self.texts.append(self._decoder.flush() if each == self._end_id else self._decoder.feed([each]))
                self.offsets.append(max(self._end, text.find(self.texts[-1], self._end)))
                self._end = self.offsets[-1] + len(self.texts[-1])
            if self._last is None:  # nothing comes before the first one
                self.scores.append(None)
                self.tops.append(None)
            read = piece if self._last is None else [self._last, *piece]
            (found,), self._state = score(self._runtime, [np.array(read, np.int32)], self._state, self._most)
            self.scores += found.log_probabilities.tolist()
            for each, own, best, values in zip(read[1:], found.log_probabilities, *found[1:], strict=True):
                self.tops.append(self._top([*best.tolist(), each], [*values.tolist(), float(own)]))
            self._last = piece[-1]
            yield

    def _top(self, ids: Sequence[int], scores: Sequence[float]) -> dict[str, float]:
        """Tokens by their texts, the likeliest first; of several with the same text, the first."""
        found: dict[str, float] = {}
        for token, value in zip(ids, scores, strict=True):
            found.setdefault("" if token == self._end_id else self._tokenizer.decode([token]), value)
        return found

    def take(self, characters: int | None) -> Logprobs:
        """Those of the tokens that begin within the first characters of the text, by default all, but each only once.

        They are forgotten, so that memory does not grow with a stream.
        """
        stop = len(self.texts) if characters is None else bisect_left(self.offsets, characters)
        found = Logprobs(
            tokens=self.texts[:stop],
            token_logprobs=self.scores[:stop],
            text_offset=self.offsets[:stop],
            top_logprobs=self.tops[:stop],
        )
        for each in (self.texts, self.scores, self.offsets, self.tops):
            del each[:stop]
        return found

    def mean(self) -> float:
        """The mean log-probability of a token, 0 without any."""
        known = [each for each in self.scores if each is not None]
        return sum(known) / len(known) if known else 0.0


def next_tokens(generator: TextGenerator, ids: Sequence[int]) -> Generator[None, None, list[NextToken]]:
    """The likeliest tokens that may follow some ids; without any, those that a text may begin with. In pieces."""
    boundaries, tokenizer, runtime = generator.boundaries, generator.tokenizer, generator.runtime
    if not ids:
        places = np.array(list(boundaries.starts), np.intp)
        values = np.log(np.array(list(boundaries.starts.values()), np.float64))
    else:
        state: State = runtime.initial_state(1)
        for piece in _cut(ids[:-1]):
            state = runtime.prefill(np.array([piece], np.int32), state)
            yield
        (found,), _ = score(runtime, [np.array([ids[-1], 0], np.int32)], state, runtime.vocab_size)
        places, values = found.likeliest[0].astype(np.intp), found.of_likeliest[0]
        allowed = ~np.isin(places, boundaries.forbidden_ids(tokenizer))
        places, values = places[allowed], values[allowed]
    values -= np.log(np.exp(values).sum())
    end_id = boundaries.end_id
    return [
        NextToken(
            id=int(places[i]),
            text="" if places[i] == end_id else tokenizer.decode([int(places[i])]),
            logprob=float(values[i]),
            is_end=bool(places[i] == end_id),
        )
        for i in np.lexsort((places, -values))[:MOST_NEXT]
        if np.isfinite(values[i])
    ]


def _cut(ids: Sequence[int]) -> Generator[list[int], None, None]:
    for start in range(0, len(ids), READ_AT_ONCE):
        yield [int(each) for each in ids[start : start + READ_AT_ONCE]]
