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

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from textgen_keras.libraries import needs_numba
from textgen_keras.network.lookup import LookUp


def as_table(projected: Any) -> tuple[Any, Any]:
    """A table of all gates, and the index of its rows ``[batch, time]``."""
    if isinstance(projected, LookUp):
        return projected.table, projected.ids
    time, batch, _ = tf.unstack(tf.shape(projected))
    return tf.reshape(projected, [-1, projected.shape[2]]), tf.range(batch)[:, None] + batch * tf.range(time)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def compiled_lstm(table: Any, index: Any, state: Any, cell: Any, kernel: Any) -> Any:
    """See :func:`textgen_keras.kernels.layers.lstm_forward`."""
    with needs_numba():
        from textgen_keras.kernels.layers import lstm_backward, lstm_forward
    rows = [None, None, kernel.shape[0]]
    arrays = [table, index, state, cell, kernel]
    states, cells, gates = call(lstm_forward, arrays, [rows, rows, [None, None, None]])

    def gradient(upstream: Any, *_: Any) -> tuple[Any, ...]:
        arrays = [upstream, table, index, kernel, states, cells, gates]
        shapes = [table.shape, state.shape, cell.shape, kernel.shape]
        by_table, *others = call(lstm_backward, arrays, shapes)
        return by_table, None, *others

    return (states[1:], states, cells), gradient


@tf.custom_gradient  # type: ignore[untyped-decorator]
def compiled_gru(table: Any, index: Any, state: Any, kernel: Any, bias: Any) -> Any:
    """See :func:`textgen_keras.kernels.layers.gru_forward`."""
    with needs_numba():
        from textgen_keras.kernels.layers import gru_backward, gru_forward
    rows = [None, None, kernel.shape[0]]
    arrays = [table, index, state, kernel, bias]
    states, gates, candidates = call(gru_forward, arrays, [rows, [None, None, None], rows])

    def gradient(upstream: Any, *_: Any) -> tuple[Any, ...]:
        arrays = [upstream, table, index, kernel, states, gates, candidates]
        shapes = [table.shape, state.shape, kernel.shape, bias.shape]
        by_table, *others = call(gru_backward, arrays, shapes)
        return by_table, None, *others

    return (states[1:], states), gradient


def call(function: Callable[..., Any], tensors: Sequence[Any], shapes: Sequence[Any]) -> list[Any]:
    """Call a function of arrays, on the CPU; no gradient flows through.

    Args:
        function: depends on its arguments alone, and returns a tuple of arrays of the first one's dtype.
        tensors: its arguments.
        shapes: of what it returns, ``None`` where a dimension is not known.
    """
    results = tf.numpy_function(function, tensors, [tensors[0].dtype] * len(shapes), stateful=False)
    return [tf.ensure_shape(result, shape) for result, shape in zip(results, shapes, strict=True)]


@tf.custom_gradient  # type: ignore[untyped-decorator]
def head_cross_entropy(hidden: Any, kernel: Any, bias: Any, targets: Any, weights: Any) -> Any:
    """The weighted sum of the cross-entropy of targets with the softmax of ``hidden @ kernel + bias``, in nats.

    Args:
        hidden: ``[time, batch, U]`` float32.
        kernel: ``[U, V]``.
        bias: ``[V]``.
        targets: ``[batch, time]`` int32, below V.
        weights: ``[batch, time]``, through which no gradient flows.

    Returns:
        A scalar.
    """
    with needs_numba():
        from textgen_keras.kernels.cross_entropy import cross_entropy
    shapes = [[], hidden.shape, kernel.shape, bias.shape]
    nats, *slopes = call(cross_entropy, [hidden, kernel, bias, targets, weights], shapes)
    return nats, lambda upstream: (*(upstream * slope for slope in slopes), None, None)
