"""What the model thinks of tokens: log-probabilities of those of a text, and of those that may follow one."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen import Ids, State, TextGenerator, Tokenizer
from textgen_serve.protocol import Logprobs, NextToken

#: Ids that are read between two turns: others wait for them.
READ_AT_ONCE = 256

#: The most tokens that may follow of which a client is told.
MOST_NEXT = 200


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities (nats) over the last axis; those of excluded ids are -inf."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    with np.errstate(all="ignore"):
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def name_of(tokenizer: Tokenizer, token: int, end_id: int | None) -> str:
    """The text of a token by itself; that of the end of a document is empty."""
    return "" if token == end_id else tokenizer.decode([token])


def likeliest(scores: NDArray[np.float64], most: int) -> list[int]:
    """The ids of the highest scores ``[vocab]``, the highest first; of equal ones the lower id first."""
    return [int(i) for i in np.argsort(-scores, kind="stable")[:most] if np.isfinite(scores[i])]


class TokenScorer:
    """The log-probabilities of the tokens of a row, in the order in which they are read.

    Args:
        generator: the model.
        end_id: that ends the row, or ``None``.
        most: likeliest tokens to name at each place.
        state: of one row, before its first id.

    Attributes:
        ids: the tokens so far.
        texts: what each adds to the text.
        scores: the log-probability of each (nats, temperature 1); ``None`` for a first one.
        tops: the likeliest tokens at each place, by their texts.
    """

    def __init__(self, generator: TextGenerator, end_id: int | None, most: int, state: State) -> None:
        self._runtime, self._tokenizer = generator.runtime, generator.tokenizer
        self._end_id, self._most, self._state = end_id, most, state
        self._decoder = self._tokenizer.decoder()
        self._last: int | None = None
        self.ids: list[int] = []
        self.texts: list[str] = []
        self.scores: list[float | None] = []
        self.tops: list[dict[str, float] | None] = []

    def skip(self, ids: Sequence[int]) -> Generator[None, None, None]:
        """Read ids that come before the text, in pieces."""
        for start in range(0, len(ids), READ_AT_ONCE):
            piece = [int(i) for i in ids[start : start + READ_AT_ONCE]]
            inputs = [*([] if self._last is None else [self._last]), *piece[:-1]]
            if inputs:
                self._state = self._runtime.prefill(np.array([inputs], np.int32), self._state)
            self._decoder.feed(piece)
            self._last = piece[-1]
            yield

    def score(self, ids: Sequence[int]) -> Generator[None, None, None]:
        """Read and score the next ids of the text, in pieces."""
        for start in range(0, len(ids), READ_AT_ONCE):
            self._score([int(i) for i in ids[start : start + READ_AT_ONCE]])
            yield

    def _score(self, ids: list[int]) -> None:
        self.ids += ids
        self.texts += [self._text(i) for i in ids]
        if self._last is None:
            self.scores.append(None)
            self.tops.append(None)
            self._last, *ids = ids
        if not ids:
            return
        inputs = np.array([[self._last, *ids[:-1]]], np.int32)
        with np.errstate(all="ignore"):
            logits, self._state = self._runtime.forward(inputs, self._state)
        scores = log_softmax(logits[0])
        self._last = ids[-1]
        for chosen, row in zip(ids, scores, strict=True):
            self.scores.append(float(row[chosen]))
            self.tops.append(self._top(row, chosen))

    def _text(self, token: int) -> str:
        return "" if token == self._end_id else self._decoder.feed([token])

    def _top(self, scores: NDArray[np.float64], chosen: int) -> dict[str, float]:
        """The likeliest tokens at a place, and the chosen one; of several with the same text, the likeliest."""
        found: dict[str, float] = {}
        for token in [*likeliest(scores, self._most), chosen]:
            found.setdefault(name_of(self._tokenizer, token, self._end_id), float(scores[token]))
        return found

    def logprobs(self, start: int, stop: int) -> Logprobs:
        """Those of the tokens of a range, as OpenAI has them."""
        offset = sum(map(len, self.texts[:start]))
        offsets = []
        for text in self.texts[start:stop]:
            offsets.append(offset)
            offset += len(text)
        return Logprobs(
            tokens=self.texts[start:stop],
            token_logprobs=self.scores[start:stop],
            text_offset=offsets,
            top_logprobs=self.tops[start:stop],
        )

    def tokens_within(self, characters: int) -> int:
        """The number of tokens that begin within the first characters of the text."""
        total = 0
        for count, text in enumerate(self.texts):
            if total >= characters:
                return count
            total += len(text)
        return len(self.texts)

    def mean(self) -> float:
        """The mean log-probability of a token, 0 without any."""
        known = [score for score in self.scores if score is not None]
        return sum(known) / len(known) if known else 0.0


def next_tokens(generator: TextGenerator, ids: Ids) -> Generator[None, None, list[NextToken]]:
    """The likeliest tokens that may follow some ids ``[n]`` int32; ``[0]`` for those that a text may begin with."""
    boundaries, tokenizer = generator.boundaries, generator.tokenizer
    scores = np.full(generator.runtime.vocab_size, -np.inf)
    if len(ids):
        state = generator.runtime.initial_state(1)
        logits: Any = None
        for start in range(0, len(ids), READ_AT_ONCE):
            with np.errstate(all="ignore"):
                logits, state = generator.runtime.forward(ids[None, start : start + READ_AT_ONCE], state)
            yield
        last = logits[0, -1].copy()
        last[list(boundaries.forbidden_ids(tokenizer))] = -np.inf
        scores = log_softmax(last)
    else:
        total = sum(boundaries.starts.values())
        for token, count in boundaries.starts.items():
            scores[token] = np.log(count / total)
    end_id = boundaries.end_id
    return [
        NextToken(id=i, text=name_of(tokenizer, i, end_id), logprob=float(scores[i]), is_end=i == end_id)
        for i in likeliest(scores, MOST_NEXT)
    ]
