"""How well a model predicts text: its loss on batches, through any runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textgen.dataset import Batch
from textgen.generation import log_softmax
from textgen.runtime import Runtime
from textgen.state import State


def mean_loss(runtime: Runtime, batches: Sequence[Batch], *, carries_state: bool) -> float:
    """The mean cross-entropy of the targets that count, in nats a character.

    Args:
        runtime: a loaded model.
        batches: of a :class:`textgen.dataset.BatchPlan`, in order.
        carries_state: whether a batch starts with the state that the one before it left.
    """
    nats, characters = 0.0, 0.0
    state: State | None = None
    for batch in batches:
        rows = len(batch.inputs)
        if state is None or not carries_state or batch.resets_state or state.batch != rows:
            state = runtime.initial_state(rows)
        logits, state = runtime.forward(batch.inputs, state, batch.lengths() if carries_state else None)
        chosen = np.take_along_axis(log_softmax(logits), batch.targets[:, :, None], axis=2)[:, :, 0]
        nats -= float((chosen * batch.weights).sum())
        characters += float(batch.weights.sum())
    return nats / characters
