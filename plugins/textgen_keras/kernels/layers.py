"""The arrays that recurrent layers of all cells read and keep.

Arrays are float32 or float64 and contiguous. All but the index have time first, so that a step is contiguous.

The input of a layer is a ``table`` ``[N, G * U]``, each row of which is an input times the input's kernel plus biases,
for all G gates; and an ``index`` ``[batch, time]`` int32, the row of the table that each step reads. The table has one
row per id if the input is a look-up, and otherwise one per step and row of the batch.
"""

from __future__ import annotations

import numpy as np

from textgen_keras.kernels.arrays import Array, empty, zeros
from textgen_keras.kernels.threads import Share

#: The bytes of states and gates that the processor's caches are expected to hold until the backward pass.
LARGEST_KEPT = 2**21


def with_first(state: Array, time: int) -> Array:
    """Room for a state before the first step, which is set, and after each: ``[time + 1, batch, U]``."""
    states = empty((time + 1, *state.shape), state.dtype)
    states[0] = state
    return states


def goes_past_cache(states: Array, *others: Array) -> bool:
    """Decide whether a layer writes what it keeps for its backward pass to memory past the cache.

    That is better if the caches could not hold it, and possible if all rows begin at multiples of 64 bytes: in arrays
    of :func:`textgen_keras.kernels.arrays.empty`, if their length is one.
    """
    size = sum(array.nbytes for array in (states, *others))
    return size > LARGEST_KEPT and states.shape[-1] * states.itemsize % 64 == 0


def table_gradients(table: Array, index: Array, rows: list[Share]) -> list[Array]:
    """Zeros for the gradient of a table, one array per core; the same for all if no row of the table is read twice."""
    if index.size == len(table) and np.array_equal(index.T.reshape(-1), np.arange(len(table))):
        return [zeros(table.shape, table.dtype)] * len(rows)
    return [zeros(table.shape, table.dtype) for _ in rows]
