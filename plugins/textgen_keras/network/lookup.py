"""The input's part of all gates, as rows that are looked up in a table.

Importing this module imports TensorFlow: see :func:`require_tensorflow`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

#: Below this vocabulary size the gradient of a look-up is a product with one-hot rows, which is then faster than a
#: scattered sum.
_ONE_HOT_BELOW = 1024


@dataclass(frozen=True)
class LookUp:
    """The input's part of all gates, as a table and the rows to look up in it.

    Attributes:
        table: ``[V, G * U]``.
        ids: ``[batch, time]`` int32.
    """

    table: Any
    ids: Any


#: Computes, from a layer's kernel and bias, the input's part of all gates: ``[time, batch, G * U]``, or a look-up of
#: it.
Project = Callable[[Any, Any], Any]


def gru_biases(bias: Any) -> tuple[Any, Any]:
    """Split the bias of a GRU, ``[2, 3 * U]``, into the parts that are added in different places.

    Returns:
        The bias of the input's part, ``[3 * U]``: the whole input bias, and the recurrent bias of both gates. And the
        candidate's recurrent bias, ``[U]``, which the reset gate multiplies.
    """
    units = bias.shape[1] // 3
    gates, candidate = tf.split(bias[1], [2 * units, units])
    return bias[0] + tf.concat([gates, tf.zeros_like(candidate)], 0), candidate


@tf.custom_gradient  # type: ignore[untyped-decorator]
def look_up(table: Any, ids: Any) -> Any:
    """Look up rows of a table: ``[V, N]`` and ``[batch, time]`` int32 → ``[time, batch, N]``."""
    ids = tf.transpose(ids)

    def gradient(upstream: Any) -> tuple[Any, None]:
        vocab, columns = table.shape
        rows, flat = tf.reshape(ids, [-1]), tf.reshape(upstream, [-1, columns])
        if vocab < _ONE_HOT_BELOW:
            return tf.matmul(tf.one_hot(rows, vocab), flat, transpose_a=True), None
        return tf.math.unsorted_segment_sum(flat, rows, vocab), None

    return tf.gather(table, ids), gradient
