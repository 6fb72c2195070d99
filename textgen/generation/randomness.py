"""Sampling: the chain of samplers, how it is written, and where its randomness comes from.

A chain is written ``temperature(0.8) | top-k(40) | multinomial``: samplers in the order in which they are applied, then
the selector that draws. Ids that must never be drawn are excluded before the first sampler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def uniforms(seed: int, rows: Sequence[int], start: int, steps: int) -> NDArray[np.float32]:
    """The randomness of generation: one number a row and step, from nothing but (seed, row's own seed, step).

    Step s of a row is word s of the Philox4x64-10 stream with key ``(seed, row)`` (Salmon et al., 2011), which
    ``numpy.random.Philox(key=[seed, row]).random_raw()`` gives; its upper 24 bits over 2**24 are the number.

    Args:
        seed: of the whole generation, 0 to 2**64 - 1.
        rows: each row's own seed, likewise.
        start: the first step.
        steps: how many.

    Returns:
        ``[steps, rows]`` float32 in [0, 1), multiples of 2**-24.
    """
    words = np.empty((len(rows), steps), np.uint64)
    generator = np.random.Philox(key=np.zeros(2, np.uint64))
    state: Any = generator.state
    skipped = start % 4  # the stream comes in blocks of four words
    for index, row in enumerate(rows):
        state["state"]["key"][:] = (seed, row)
        state["state"]["counter"][:] = (start // 4, 0, 0, 0)
        generator.state = state
        words[index] = generator.random_raw(skipped + steps)[skipped:]
    return ((words >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)).T.copy()
