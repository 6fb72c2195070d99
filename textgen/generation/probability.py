"""Log-probabilities of texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from textgen.generation.prompts import pad_rows
from textgen.generation.row import Row
from textgen.generation.runtime import Ids, Runtime
from textgen.model.state import State

#: Positions per call of the runtime: it bounds the memory that the logits of long texts take.
SCORED_AT_ONCE = 256


def score_rows(runtime: Runtime, prompt_ids: Sequence[Ids], rows: Sequence[Row], state: State) -> list[float]:
    """The log-probability of each row's ids (nats), computed by reading prompt and text once more from ``state``."""
    texts = [np.concatenate([ids, np.array(row.written, np.int32)]) for ids, row in zip(prompt_ids, rows, strict=True)]
    inputs, lengths = pad_rows([text[:-1] for text in texts])
    targets, _ = pad_rows([text[1:] for text in texts])
    total = np.zeros(len(rows))
    written_from = np.array([len(ids) - 1 for ids in prompt_ids])[:, None]
    for at in range(0, inputs.shape[1], SCORED_AT_ONCE):
        part = slice(at, at + SCORED_AT_ONCE)
        logits, state = runtime.forward(inputs[:, part], state, np.clip(lengths - at, 0, inputs[:, part].shape[1]))
        positions = at + np.arange(logits.shape[1])
        counts = (positions >= written_from) & (positions < lengths[:, None])
        chosen = np.take_along_axis(log_softmax(logits), targets[:, part, None], axis=2)[:, :, 0]
        total += np.where(counts, chosen, 0).sum(axis=1)
    return [float(value) for value in total]


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities (nats) over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))
