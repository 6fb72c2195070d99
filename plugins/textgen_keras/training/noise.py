"""What training changes at random, besides dropout: a function of the seed and the number of the batch in the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from textgen import Batch

#: The last word of the seeds: one for each use. It is not 0, which would make them those of the order of batches.
_NOISE, _RESETS = 1, 2


def add_noise(batch: Batch, share: float, marks: Sequence[int], *, seed: int, step: int) -> Batch:
    """Replace some of the ids that are read, each by one that is drawn from this batch (Xie et al. 2017).

    So an id is drawn with the frequency that it has in the text. What has to be predicted stays as it is. So do the
    marks, which are not drawn either: a document would seem to end and begin within its text. Positions whose target
    does not count are left out, too.

    Args:
        batch: as it comes from the data set.
        share: the probability that an id is replaced.
        marks: see :class:`textgen.Dataset`.
        seed: the run's.
        step: the batch's number in the run.
    """
    rng = np.random.default_rng([seed, step, _NOISE])
    is_text = (batch.weights > 0) & ~np.isin(batch.inputs, marks)
    is_replaced = is_text & (rng.random(is_text.shape) < share)
    inputs = batch.inputs.copy()
    inputs[is_replaced] = rng.choice(batch.inputs[is_text], np.count_nonzero(is_replaced))
    return replace(batch, inputs=inputs)


def draw_resets(rows: int, share: float, *, seed: int, step: int) -> NDArray[np.bool_]:
    """Decide for each row of a batch, with the probability ``share``, whether its state is reset: ``[rows]``."""
    return np.random.default_rng([seed, step, _RESETS]).random(rows) < share
