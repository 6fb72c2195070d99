"""Scores of a runtime's predictions of text: cross-entropy, accuracy and calibration, in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen.errors import TextgenError
from textgen.generation.probability import log_softmax
from textgen.generation.runtime import Runtime
from textgen.model.state import State
from textgen.text.batches import Batch
from textgen.text.encoded import EncodedText
from textgen.text.id_store import StoredIds

#: The number of bins of the calibration error, as in Guo et al. (2017).
BINS = 15

#: The number of rows read side by side, of ids per row read at a time, and of logits held at most.
ROWS, STEPS, LOGITS = 64, 100, 2**22

#: Tokens that a lane of a stream reads before its predictions count.
WARM_UP = 500

Places = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Predictions whose confidence is in ``(low, high]``.

    Attributes:
        low: the lower bound of the confidence.
        high: the upper bound.
        predictions: the number of predictions in the bin.
        confidence: their mean probability of the likeliest token; 0 in an empty bin, as is ``accuracy``.
        accuracy: the share in which that token was right.
    """

    low: float
    high: float
    predictions: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Score:
    """The score of predictions by the softmax of the logits over the whole vocabulary, at temperature 1.

    Attributes:
        characters: the number of characters judged; the end of a document counts as one.
        tokens: the number of tokens judged: of characters, with the character tokenizers.
        nats: the mean cross-entropy per character: that of the tokens, divided by the number of characters that they
            stand for. So tokenizers can be compared.
        bits: the same in bits.
        nats_per_token: the mean cross-entropy per token.
        accuracy: the share of tokens that were the likeliest one; ties go to the lowest id.
        calibration_error: expected calibration error, the mean over tokens of the difference between accuracy and
            confidence of their bin, with :data:`BINS` bins of equal width over the likeliest token's probability
            (Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017, equation 3).
        bins: the bins of the calibration error.
    """

    characters: int
    tokens: int
    nats: float
    bits: float
    nats_per_token: float
    accuracy: float
    calibration_error: float
    bins: tuple[Bin, ...]

    @property
    def has_long_tokens(self) -> bool:
        """Whether tokens stand for more or fewer characters than one, so that figures per token differ."""
        return self.tokens != self.characters


class Tally:
    """Sums over predictions.

    Args:
        characters_per_id: the number of characters that each id stands for, ``[vocab]``.
    """

    def __init__(self, characters_per_id: NDArray[Any]) -> None:
        self._characters_per_id = characters_per_id
        self._characters = 0.0
        self._nats = 0.0
        # By bin: the number of predictions, the sum of their confidences, the number of right ones.
        self._counts, self._confidence, self._right = np.zeros((3, BINS))

    def add(self, logits: NDArray[np.float32], targets: StoredIds, counts: NDArray[np.bool_]) -> None:
        """Adds predictions.

        Args:
            logits: ``[rows, time, vocab]``.
            targets: ``[rows, time]``, the ids that followed.
            counts: ``[rows, time]``, which of them count.

        Raises:
            TextgenError: if they are not numbers.
        """
        found = log_softmax(logits[counts])
        wanted = targets[counts]
        self._characters += float(self._characters_per_id[wanted].sum())
        self._nats -= float(found[np.arange(len(wanted)), wanted].sum())
        confidence = np.exp(found.max(axis=1))
        if not np.isfinite(confidence).all():
            raise TextgenError("the model gives no finite numbers to judge; train it again, or evaluate another run")
        at = np.clip(np.ceil(confidence * BINS).astype(np.intp) - 1, 0, BINS - 1)
        self._counts += np.bincount(at, minlength=BINS)
        self._confidence += np.bincount(at, confidence, BINS)
        self._right += np.bincount(at, found.argmax(axis=1) == wanted, BINS)

    def score(self) -> Score:
        """Returns the score; at least one prediction must have been added."""
        tokens, characters = int(self._counts.sum()), max(self._characters, 1)
        filled = np.maximum(self._counts, 1)
        columns: Sequence[NDArray[Any]] = (self._counts, self._confidence / filled, self._right / filled)
        nats = self._nats / characters
        return Score(
            characters=round(self._characters),
            tokens=tokens,
            nats=nats,
            bits=nats / math.log(2),
            nats_per_token=self._nats / tokens,
            accuracy=float(self._right.sum()) / tokens,
            calibration_error=float(np.abs(self._right - self._confidence).sum()) / tokens,
            bins=tuple(
                Bin(
                    low=index / BINS,
                    high=(index + 1) / BINS,
                    predictions=int(count),
                    confidence=float(confidence),
                    accuracy=float(accuracy),
                )
                for index, (count, confidence, accuracy) in enumerate(zip(*columns, strict=True))
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The parts of a text to read, each from the initial state, and the predictions to judge.

    Row r reads ``lengths[r]`` ids, beginning at ``starts[r]``, and after each id predicts the next one.

    Attributes:
        ids: ``[n]``, the text.
        starts: ``[rows]`` int64.
        lengths: ``[rows]`` int64.
        skips: ``[rows]`` int64, the number of a row's first predictions that are not judged.
        context: the text that a token is predicted from, in words.
    """

    ids: StoredIds
    starts: Places
    lengths: Places
    skips: Places
    context: str

    @property
    def predictions(self) -> int:
        """The number of predictions judged."""
        return int((self.lengths - self.skips).sum())

    @classmethod
    def carried(cls, ids: StoredIds, rows: int = ROWS, warm_up: int = WARM_UP) -> Reading:
        """A stream, its state carried from the first token to the last; all tokens but the first are judged.

        A text of more than two warm-ups is read in lanes side by side. A lane begins at least ``warm_up`` tokens before
        its first judged one, so the context of each token is all of the text before it, or that many.
        """
        predictions = len(ids) - 1
        lanes = max(1, min(rows, (predictions - warm_up) // max(warm_up, 1)))
        span = warm_up + -(-(predictions - warm_up) // lanes) if lanes > 1 else predictions
        starts = np.arange(lanes) * (predictions - span) // max(lanes - 1, 1)
        skips = np.concatenate([[0], starts[:-1] + span - starts[1:]])
        context = "state carried through the whole text"
        if lanes > 1:
            context += f", in {lanes} lanes, each after {warm_up:,} tokens of warm-up"
        return cls(ids=ids, starts=starts, lengths=np.full(lanes, span), skips=skips, context=context)

    @classmethod
    def windows(cls, ids: StoredIds, length: int) -> Reading:
        """A stream in adjacent windows of ``length`` ids; all tokens but the first are judged."""
        starts = np.arange(0, len(ids) - 1, length)
        lengths = np.minimum(length, len(ids) - 1 - starts)
        context = f"state not carried: windows of {length:,} token{'s' * (length > 1)}, each from the initial state"
        return cls(ids=ids, starts=starts, lengths=lengths, skips=np.zeros_like(starts), context=context)

    @classmethod
    def documents(cls, text: EncodedText) -> Reading:
        """Documents; all tokens but the first of each are judged, including its end."""
        lengths = np.maximum(text.lengths() - 1, 0)
        return cls(
            ids=text.ids,
            starts=text.offsets[:-1],
            lengths=lengths,
            skips=np.zeros_like(lengths),
            context="each document from the initial state",
        )


def judge(
    runtime: Runtime,
    reading: Reading,
    characters_per_id: NDArray[Any],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Score:
    """Scores a runtime's predictions of a text.

    Memory does not grow with the text: at most :data:`ROWS` rows and about :data:`LOGITS` logits are held at a time.

    Args:
        runtime: a loaded model.
        reading: at least one token to judge.
        characters_per_id: see :attr:`textgen.Tokenizer.characters_per_id`.
        progress: called with the number of tokens judged so far, and in all.
    """
    tally = Tally(characters_per_id)
    done, total = 0, reading.predictions
    longest_first = np.argsort(-reading.lengths, kind="stable")
    steps = max(1, min(STEPS, LOGITS // (ROWS * runtime.vocab_size)))
    for first in range(0, len(longest_first), ROWS):
        rows = longest_first[first : first + ROWS]
        starts, lengths, skips = (part[rows, None] for part in (reading.starts, reading.lengths, reading.skips))
        state = runtime.initial_state(len(rows))
        for at in range(0, int(lengths.max()), steps):
            going = int((lengths > at).sum())
            if going < len(starts):  # the rows that have ended are the last ones
                starts, lengths, skips = starts[:going], lengths[:going], skips[:going]
                state = state.select(np.arange(going))
            columns = np.arange(at, min(at + steps, int(lengths.max())))
            # A row that ends here reads on; those predictions do not count.
            places = np.minimum(starts + columns, len(reading.ids) - 2)
            logits, state = runtime.forward(reading.ids[places].astype(np.int32, copy=False), state)
            counts = (skips <= columns) & (columns < lengths)
            tally.add(logits, reading.ids[places + 1], counts)
            done += int(counts.sum())
            progress(done, total)
    return tally.score()


def mean_loss(
    runtime: Runtime, batches: Sequence[Batch], characters_per_id: NDArray[Any], *, carries_state: bool
) -> float:
    """Returns the mean cross-entropy of the targets that count, in nats per character.

    Args:
        runtime: a loaded model.
        batches: batches of a :class:`textgen.text.batches.BatchPlan`, in order.
        characters_per_id: see :attr:`textgen.Tokenizer.characters_per_id`.
        carries_state: whether a batch starts with the state in which the previous one ended.
    """
    tally = Tally(characters_per_id)
    state: State | None = None
    for batch in batches:
        if state is None or not batch.follows(state.batch, carries_state=carries_state):
            state = runtime.initial_state(len(batch.inputs))
        logits, state = runtime.forward(batch.inputs, state, batch.lengths() if carries_state else None)
        tally.add(logits, batch.targets, batch.weights > 0)
    return tally.score().nats
