"""The kernels as operators of TensorFlow with gradients, for training on a CPU.

:mod:`textgen_keras.kernels` reads and returns NumPy arrays. This is the only place where TensorFlow calls it, by
``tf.numpy_function``.

Importing this module imports TensorFlow: see :func:`textgen_keras.libraries.require_tensorflow`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from textgen_keras.libraries import needs_numba
from textgen_keras.network.lookup import LookUp


def as_table(projected: Any) -> tuple[Any, Any]:
    """The input of a layer as the kernels read it.

    Args:
        projected: a :class:`~textgen_keras.network.lookup.LookUp`, or a tensor ``[time, batch, G * U]``.

    Returns:
        A table ``[N, G * U]``, and the index ``[batch, time]`` int32 of the row that each step reads.
    """
    if isinstance(projected, LookUp):
        return projected.table, projected.ids
    time, batch, _ = tf.unstack(tf.shape(projected))
    return tf.reshape(projected, [-1, projected.shape[2]]), tf.range(batch)[:, None] + batch * tf.range(time)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def compiled_lstm(table: Any, index: Any, state: Any, cell: Any, kernel: Any) -> Any:
    """Run an LSTM layer with :func:`textgen_keras.kernels.lstm.forward`, whose arguments these are.

    Returns:
        h after each step, ``[time, batch, U]``; and h and c before the first step and after each, both ``[time + 1,
        batch, U]``, through which no gradient flows.
    """
    with needs_numba():
        from textgen_keras.kernels import lstm
    layer = {"table": table, "index": index, "kernel": kernel}
    each_step = [None, None, kernel.shape[0]]
    states, cells, gates = _call(
        lstm.forward, layer | {"state": state, "cell": cell}, [each_step, each_step, [None, None, None]]
    )

    def gradient(upstream: Any, *_: Any) -> tuple[Any, ...]:
        kept = {"states": states, "cells": cells, "gates": gates}
        shapes = [table.shape, state.shape, cell.shape, kernel.shape]
        d_table, d_state, d_cell, d_kernel = _call(lstm.backward, {"upstream": upstream} | layer | kept, shapes)
        return d_table, None, d_state, d_cell, d_kernel

    return (states[1:], states, cells), gradient


@tf.custom_gradient  # type: ignore[untyped-decorator]
def compiled_gru(table: Any, index: Any, state: Any, kernel: Any, bias: Any) -> Any:
    """Run a GRU layer with :func:`textgen_keras.kernels.gru.forward`, whose arguments these are.

    Returns:
        h after each step, ``[time, batch, U]``; and h before the first step and after each, ``[time + 1, batch, U]``,
        through which no gradient flows.
    """
    with needs_numba():
        from textgen_keras.kernels import gru
    layer = {"table": table, "index": index, "kernel": kernel}
    each_step = [None, None, kernel.shape[0]]
    states, gates, candidates = _call(
        gru.forward, layer | {"state": state, "bias": bias}, [each_step, [None, None, None], each_step]
    )

    def gradient(upstream: Any, *_: Any) -> tuple[Any, ...]:
        kept = {"states": states, "gates": gates, "candidates": candidates}
        shapes = [table.shape, state.shape, kernel.shape, bias.shape]
        d_table, d_state, d_kernel, d_bias = _call(gru.backward, {"upstream": upstream} | layer | kept, shapes)
        return d_table, None, d_state, d_kernel, d_bias

    return (states[1:], states), gradient


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
    arguments = {"hidden": hidden, "kernel": kernel, "bias": bias, "targets": targets, "weights": weights}
    shapes = [[], hidden.shape, kernel.shape, bias.shape]
    nats, *slopes = _call(cross_entropy, arguments, shapes)
    return nats, lambda upstream: (*(upstream * slope for slope in slopes), None, None)


def _call(function: Callable[..., Any], arguments: dict[str, Any], shapes: Sequence[Any]) -> list[Any]:
    """Call a function of arrays on the CPU; no gradient flows through.

    Args:
        function: depends on its arguments alone, and returns a tuple of arrays.
        arguments: tensors by name; the first one has the dtype of the results.
        shapes: the shapes of the results, with ``None`` for unknown dimensions.
    """
    names, tensors = list(arguments), list(arguments.values())
    results = tf.numpy_function(
        lambda *arrays: function(**dict(zip(names, arrays, strict=True))),
        tensors,
        [tensors[0].dtype] * len(shapes),
        stateful=False,
    )
    return [tf.ensure_shape(result, shape) for result, shape in zip(results, shapes, strict=True)]
