"""The random numbers of generation, as a function of the seeds and the step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def uniforms(seed: int, row_seeds: Sequence[int], start: int, steps: int) -> NDArray[np.float32]:
    """The random numbers of generation: one per row and step, which depends on nothing but (seed, row's seed, step).

    The number of step s is the upper 24 bits of word s, over 2**24, of the Philox4x64-10 stream with the key
    ``(seed, row's seed)``, which is ``numpy.random.Philox(key=[seed, row_seed]).random_raw()`` (Salmon, Moraes, Dror
    and Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011).

    Args:
        seed: of the generation, 0 to 2**64 - 1.
        row_seeds: the seed of each row, 0 to 2**64 - 1.
        start: the first step.
        steps: the number of steps.

    Returns:
        ``[steps, rows]`` float32 in [0, 1), multiples of 2**-24.
    """
    words = np.empty((len(row_seeds), steps), np.uint64)
    generator = np.random.Philox(key=np.zeros(2, np.uint64))
    state: Any = generator.state
    skipped = start % 4  # the stream comes in blocks of four words
    for index, row_seed in enumerate(row_seeds):
        state["state"]["key"][:] = (seed, row_seed)
        state["state"]["counter"][:] = (start // 4, 0, 0, 0)
        generator.state = state
        words[index] = generator.random_raw(skipped + steps)[skipped:]
    return ((words >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)).T.copy()
