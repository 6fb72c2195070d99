"""How well a runtime predicts text: cross-entropy, accuracy and calibration, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen.generation.probability import log_softmax
from textgen.generation.runtime import Runtime
from textgen.model.state import State
from textgen.text.batches import Batch
from textgen.text.encoded import EncodedText
from textgen.text.id_store import StoredIds

#: Bins of the calibration error, as Guo et al. (2017) have them.
BINS = 15

#: Rows that are read side by side, ids of each that are read at once, and logits that these may come to.
ROWS, STEPS, LOGITS = 64, 100, 2**22

#: Characters that a lane of a stream reads before it is judged.
WARM_UP = 500

#: Is told characters judged so far, and of how many.
Progress = Callable[[int, int], None]

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Bin:
    """Predictions whose confidence is in ``(low, high]``.

    Attributes:
        low: lower bound of the confidence.
        high: upper bound.
        characters: predictions in the bin.
        confidence: their mean probability of the likeliest character; 0 where there are none, as ``accuracy``.
        accuracy: the share in which that was the right one.
    """

    low: float
    high: float
    characters: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Score:
    """How well text was predicted, by the softmax of the logits over the whole vocabulary, at temperature 1.

    Attributes:
        characters: that were judged; the end of a document counts as one.
        nats: mean cross-entropy a character.
        bits: the same in bits.
        accuracy: share of characters that were the likeliest one (the first of equals).
        calibration_error: expected calibration error, the mean over characters of the difference between accuracy and
            confidence of their bin, with :data:`BINS` bins of equal width over the likeliest character's probability
            (Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017, equation 3).
        bins: what that is made of.
    """

    characters: int
    nats: float
    bits: float
    accuracy: float
    calibration_error: float
    bins: tuple[Bin, ...]


class Tally:
    """Predictions and what came, added up."""

    def __init__(self) -> None:
        self._nats = 0.0
        # By bin: predictions, the sum of their confidences, how many were right.
        self._counts, self._confidence, self._right = np.zeros((3, BINS))

    def add(self, logits: NDArray[np.float32], targets: StoredIds, counts: NDArray[np.bool_]) -> None:
        """Judge logits ``[rows, time, vocab]`` by ids ``[rows, time]`` wherever ``counts`` ``[rows, time]`` is set."""
        found = log_softmax(logits[counts])
        wanted = targets[counts]
        self._nats -= float(found[np.arange(len(wanted)), wanted].sum())
        confidence = np.exp(found.max(axis=1))
        at = np.clip(np.ceil(confidence * BINS).astype(np.intp) - 1, 0, BINS - 1)
        self._counts += np.bincount(at, minlength=BINS)
        self._confidence += np.bincount(at, confidence, BINS)
        self._right += np.bincount(at, found.argmax(axis=1) == wanted, BINS)

    def score(self) -> Score:
        """What it all comes to; at least one character must have been judged."""
        characters = int(self._counts.sum())
        filled = np.maximum(self._counts, 1)
        columns: Sequence[NDArray[Any]] = (self._counts, self._confidence / filled, self._right / filled)
        nats = self._nats / characters
        return Score(
            characters,
            nats,
            nats / math.log(2),
            float(self._right.sum()) / characters,
            float(np.abs(self._right - self._confidence).sum()) / characters,
            tuple(
                Bin(index / BINS, (index + 1) / BINS, int(count), float(confidence), float(accuracy))
                for index, (count, confidence, accuracy) in enumerate(zip(*columns, strict=True))
            ),
        )


@dataclass(frozen=True)
class Reading:
    """Which parts of a text are read, each from the initial state, and what of them is judged.

    Row r reads ``lengths[r]`` ids from ``starts[r]`` on, and predicts after each the one that follows it.

    Attributes:
        ids: ``[n]``, the text.
        starts: ``[rows]`` int64.
        lengths: ``[rows]`` int64.
        skips: ``[rows]`` int64: so many of a row's first predictions are not judged.
        context: what a character is predicted from, in words.
    """

    ids: StoredIds
    starts: Places
    lengths: Places
    skips: Places
    context: str

    @property
    def characters(self) -> int:
        """Predictions that are judged."""
        return int((self.lengths - self.skips).sum())

    @classmethod
    def carried(cls, ids: StoredIds, rows: int = ROWS, warm_up: int = WARM_UP) -> Reading:
        """A stream, its state carried from the first character to the last; every character but the first is judged.

        A text of more than two warm-ups is read in lanes side by side. A lane begins ``warm_up`` characters or more
        before the first one that it is judged by, so each character has all before it as context, or that many.
        """
        predictions = len(ids) - 1
        lanes = max(1, min(rows, (predictions - warm_up) // max(warm_up, 1)))
        span = warm_up + -(-(predictions - warm_up) // lanes) if lanes > 1 else predictions
        starts = np.arange(lanes) * (predictions - span) // max(lanes - 1, 1)
        skips = np.concatenate([[0], starts[:-1] + span - starts[1:]])
        context = "state carried through the whole text"
        if lanes > 1:
            context += f", in {lanes} lanes, each after {warm_up:,} characters of warm-up"
        return cls(ids, starts, np.full(lanes, span), skips, context)

    @classmethod
    def windows(cls, ids: StoredIds, length: int) -> Reading:
        """A stream in windows of ``length`` ids, one after the other; every character but the first is judged."""
        starts = np.arange(0, len(ids) - 1, length)
        lengths = np.minimum(length, len(ids) - 1 - starts)
        context = f"state not carried: windows of {length:,} characters, each from the initial state"
        return cls(ids, starts, lengths, np.zeros_like(starts), context)

    @classmethod
    def documents(cls, text: EncodedText) -> Reading:
        """Documents; every character but the first of each is judged, its end too."""
        lengths = np.maximum(text.lengths() - 1, 0)
        return cls(text.ids, text.offsets[:-1], lengths, np.zeros_like(lengths), "each document from the initial state")


def judge(runtime: Runtime, reading: Reading, progress: Progress = lambda done, total: None) -> Score:
    """Predict a text and compare; there must be at least one character to judge.

    Memory does not grow with the text: at most :data:`ROWS` rows and about :data:`LOGITS` logits are worked on at once.
    """
    tally = Tally()
    done, total = 0, reading.characters
    longest_first = np.argsort(-reading.lengths, kind="stable")
    steps = max(1, min(STEPS, LOGITS // (ROWS * runtime.vocab_size)))
    for first in range(0, len(longest_first), ROWS):
        rows = longest_first[first : first + ROWS]
        starts, lengths, skips = (part[rows, None] for part in (reading.starts, reading.lengths, reading.skips))
        state = runtime.initial_state(len(rows))
        for at in range(0, int(lengths.max()), steps):
            columns = np.arange(at, min(at + steps, int(lengths.max())))
            # A row that is over reads on to where the others end, and is not judged there.
            places = np.minimum(starts + columns, len(reading.ids) - 2)
            logits, state = runtime.forward(reading.ids[places].astype(np.int32, copy=False), state)
            counts = (skips <= columns) & (columns < lengths)
            tally.add(logits, reading.ids[places + 1], counts)
            done += int(counts.sum())
            progress(done, total)
    return tally.score()


def mean_loss(runtime: Runtime, batches: Sequence[Batch], *, carries_state: bool) -> float:
    """The mean cross-entropy of the targets that count, in nats a character.

    Args:
        runtime: a loaded model.
        batches: of a :class:`textgen.text.batches.BatchPlan`, in order.
        carries_state: whether a batch starts with the state that the one before it left.
    """
    tally = Tally()
    state: State | None = None
    for batch in batches:
        rows = len(batch.inputs)
        if state is None or not carries_state or batch.resets_state or state.batch != rows:
            state = runtime.initial_state(rows)
        logits, state = runtime.forward(batch.inputs, state, batch.lengths() if carries_state else None)
        tally.add(logits, batch.targets, batch.weights > 0)
    return tally.score().nats
