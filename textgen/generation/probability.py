"""Log-probabilities of texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from textgen.generation.prompts import pad_rows
from textgen.generation.row import Row
from textgen.generation.runtime import Ids, Runtime
from textgen.model.state import State

#: The least ids per row that are read at once: few rows for many steps are faster than many rows for few.
LEAST_STEPS = 16


def score_rows(runtime: Runtime, prompt_ids: Sequence[Ids], rows: Sequence[Row], state: State) -> list[float]:
    """The log-probability of each row's ids (nats), computed by reading prompt and text once more from ``state``.

    Some rows at a time, and pieces of them, so that memory grows neither with the rows nor with their lengths.

    Args:
        runtime: the loaded model.
        prompt_ids: the ids that each row read before it wrote, ``[n]`` int32, at least one.
        rows: the rows after they were written; their ids after ``prompt_ids`` are scored.
        state: of as many rows, before ``prompt_ids``.

    Returns:
        The sum over a row's ids, in the order of the rows; 0 for a row without any.
    """
    scores = np.zeros(len(rows))
    order = np.argsort([len(row.written) for row in rows], kind="stable")
    at_once = runtime.rows_at_once(LEAST_STEPS)
    for first in range(0, len(rows), at_once):
        group = order[first : first + at_once]
        prompts, lengths = pad_rows([prompt_ids[i][:-1] for i in group])
        before = runtime.prefill(prompts, state.select(group), lengths)
        scores[group] = _score(runtime, [prompt_ids[i][-1] for i in group], [rows[i].written for i in group], before)
    return [float(score) for score in scores]


def _score(
    runtime: Runtime, last: Sequence[int], written: Sequence[Sequence[int]], state: State
) -> NDArray[np.float64]:
    """The log-probabilities of ids that follow ``last``, the last id of each prompt, ``[batch]``."""
    targets, lengths = pad_rows([np.array(ids, np.int32) for ids in written])
    inputs = np.concatenate([np.array(last, np.int32)[:, None], targets], axis=1)[:, :-1]
    total = np.zeros(len(last))
    start = 0
    for piece, counts in runtime.pieces(inputs, lengths):
        logits, state = runtime.forward(piece, state, counts)
        stop = start + piece.shape[1]
        chosen = log_probabilities(logits, targets[:, start:stop])
        counted = np.where(np.arange(start, stop) < lengths[:, None], chosen, 0)
        # One after the other: a sum of all at once would depend on the longest row and on the pieces.
        total = np.concatenate([total[:, None], counted], axis=1).cumsum(axis=1)[:, -1]
        start = stop
    return total


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
