"""Log-probabilities of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from textgen.generation.prompts import pad_rows
from textgen.generation.runtime import Ids, Runtime
from textgen.model.state import State

#: The least ids per row that are read at once: few rows for many steps are faster than many rows for few.
LEAST_STEPS = 16


class Scores(NamedTuple):
    """What a model says of the ids of a row but for the first, each given those before it.

    Attributes:
        log_probabilities: of each id (nats, temperature 1), ``[ids - 1]`` float64.
        likeliest: the likeliest ids at the place of each, ``[ids - 1, n]`` int32; of equal ones the lowest come first.
        of_likeliest: their log-probabilities, ``[ids - 1, n]`` float64.
    """

    log_probabilities: NDArray[np.float64]
    likeliest: Ids
    of_likeliest: NDArray[np.float64]


def score(runtime: Runtime, rows: Sequence[Ids], state: State, likeliest: int = 0) -> tuple[list[Scores], State]:
    """Read rows of ids, and say how likely each id was.

    Some rows at a time, and pieces of them, so that memory does not grow with their number and lengths, but for the
    results.

    Args:
        runtime: the loaded model.
        rows: ids, each ``[ids]`` int32, at least one.
        state: of as many rows, before their first ids.
        likeliest: the number of likeliest ids to find at each place; at most all are found.

    Returns:
        The scores of each row, and the state before the last id of each, which is not read.
    """
    count = min(likeliest, runtime.vocab_size)
    found = [
        Scores(np.zeros(size), np.zeros((size, count), np.int32), np.zeros((size, count)))
        for size in (len(ids) - 1 for ids in rows)
    ]
    order = np.argsort([len(ids) for ids in rows], kind="stable")
    at_once = runtime.rows_at_once(LEAST_STEPS)
    states = []
    for first in range(0, len(rows), at_once):
        group = order[first : first + at_once]
        states.append(_score([rows[i] for i in group], [found[i] for i in group], runtime, state.select(group), count))
    return found, State.concat(states).select(np.argsort(order))


def _score(rows: Sequence[Ids], found: Sequence[Scores], runtime: Runtime, state: State, count: int) -> State:
    """Fill the scores of some rows; returns the state after."""
    inputs, lengths = pad_rows([ids[:-1] for ids in rows])
    targets, _ = pad_rows([ids[1:] for ids in rows])
    start = 0
    for piece, counts in runtime.pieces(inputs, lengths):
        logits, state = runtime.forward(piece, state, counts)
        stop = start + piece.shape[1]
        chosen = log_probabilities(logits, targets[:, start:stop])
        for row, (scores, size) in enumerate(zip(found, np.clip(lengths - start, 0, stop - start), strict=True)):
            scores.log_probabilities[start : start + size] = chosen[row, :size]
            if count and size:
                values = log_softmax(logits[row, :size])
                best = np.argsort(-values, axis=-1, kind="stable")[:, :count]
                scores.likeliest[start : start + size] = best
                scores.of_likeliest[start : start + size] = np.take_along_axis(values, best, axis=-1)
        start = stop
    return state


def log_probabilities(logits: NDArray[np.float32], ids: Ids) -> NDArray[np.float64]:
    """The log-probability (nats) of an id at each place: logits ``[batch, time, vocab]``, ids ``[batch, time]``."""
    found = np.empty(ids.shape, np.float64)
    for row, (values, chosen) in enumerate(zip(logits, ids, strict=True)):  # float64 takes twice the memory
        shifted = np.subtract(values, values.max(axis=-1, keepdims=True), dtype=np.float64)
        picked = np.take_along_axis(shifted, chosen[:, None], axis=-1)[:, 0]
        found[row] = picked - np.log(np.exp(shifted, out=shifted).sum(axis=-1))
    return found


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities (nats) over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
