"""GRU and LSTM over whole sequences with gradients of their own, for training on a CPU.

Where a core's cache holds the recurrent kernel, :mod:`textgen_keras.kernels.layers` does the work. Otherwise, and for
bfloat16, it is done by loops of TensorFlow. Inside those a step's values are ``[units, batch]``: the recurrent kernel
comes first in a product, which TensorFlow does a quarter faster than last, and gates are parted and joined without
copying. The input's part of all gates is computed before the loop, and the gradient of a recurrent kernel is one
product over all steps after it. Keras's gate order, and Keras's GRU with ``reset_after``.

Products are in the dtype of the kernels, float32 or bfloat16; all else is in that of the values.

Importing this module imports TensorFlow: see :func:`require_tensorflow`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

#: Largest vocabulary for which the gradient of a look-up is a product with one-hot rows, and not a scattered sum.
_ONE_HOT_BELOW = 1024


@dataclass(frozen=True)
class LookUp:
    """Rows of a table as the input's part of all gates.

    Attributes:
        table: ``[V, G * U]``.
        ids: ``[batch, time]`` int32.
    """

    table: Any
    ids: Any


#: Takes a layer's kernel and its bias to the input's part of all gates: ``[time, batch, G * U]``, or a look-up of it.
Project = Callable[[Any, Any], Any]


def gru_biases(bias: Any) -> tuple[Any, Any]:
    """What may be added to the input's part ``[3 * U]``, and what is the candidate's recurrent bias ``[U]``."""
    units = bias.shape[1] // 3
    of_gates, of_candidate = tf.split(bias[1], [2 * units, units])
    return bias[0] + tf.concat([of_gates, tf.zeros_like(of_candidate)], 0), of_candidate


@tf.custom_gradient  # type: ignore[untyped-decorator]
def look_up(table: Any, ids: Any) -> Any:
    """Rows of a table: ``[V, N]`` and ``[batch, time]`` int32 → ``[time, batch, N]``."""
    ids = tf.transpose(ids)

    def gradient(upstream: Any) -> tuple[Any, None]:
        vocab, columns = table.shape
        rows, flat = tf.reshape(ids, [-1]), tf.reshape(upstream, [-1, columns])
        if vocab < _ONE_HOT_BELOW:
            return tf.matmul(tf.one_hot(rows, vocab), flat, transpose_a=True), None
        return tf.math.unsorted_segment_sum(flat, rows, vocab), None

    return tf.gather(table, ids), gradient
