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
from typing import Any

import tensorflow as tf

from textgen import Cell
from textgen_keras.network.lookup import LookUp, Project, gru_biases, look_up


def run_in_loops(
    cell: Cell, project: Project, state: list[Any], recurrent_kernel: Any, kernel: Any, bias: Any, *, in_halves: bool
) -> tuple[Any, list[Any]]:
    """:func:`run_layer` by TensorFlow's operators.

    In halves of the rows, one core multiplies while another does what is between products; a GPU has no use for that.
    """
    if cell == "lstm":
        doubled = tf.repeat(tf.constant([1, 1, 2, 1], kernel.dtype), recurrent_kernel.shape[0])
        projected = project(kernel * doubled, bias * doubled)
        run, weights = lstm, [recurrent_kernel * tf.cast(doubled, recurrent_kernel.dtype)]
    else:
        of_input, of_candidate = gru_biases(bias)
        projected = project(kernel, of_input)
        run, weights = gru, [recurrent_kernel, of_candidate]
    if isinstance(projected, LookUp):
        projected = look_up(projected.table, projected.ids)
    if not in_halves:
        outputs, *states = run(projected, *state, *weights)
        return outputs, states
    rows = tf.shape(projected)[1]
    sizes = [rows // 2, rows - rows // 2]
    parts = [tf.split(projected, sizes, axis=1, num=2), *(tf.split(values, sizes, num=2) for values in state)]
    halves = [run(*half, *weights) for half in zip(*parts, strict=True)]
    outputs, *states = (tf.concat(both, 1) for both in zip(*halves, strict=True))
    return outputs, states


@tf.custom_gradient  # type: ignore[untyped-decorator]
def gru(inputs: Any, state: Any, kernel: Any, candidate_bias: Any) -> Any:
    """Gated recurrent units: ``h' = z * h + (1 - z) * c`` with ``c = tanh(x + r * (h @ kernel + bias))``.

    Args:
        inputs: ``[time, batch, 3 * U]``, the input's part of update z, reset r and candidate (x), with all of their
            biases but the candidate's recurrent one.
        state: ``[batch, U]``, h before the first step.
        kernel: ``[U, 3 * U]``, recurrent.
        candidate_bias: ``[U]``, recurrent.

    Returns:
        ``[time, batch, U]``: h after each step; and ``[time + 1, batch, U]``: h before the first step and after each,
        through which no gradient flows.
    """
    time, units = tf.shape(inputs)[0], state.shape[1]
    inputs, state, there = _swapped(inputs), tf.transpose(state), tf.transpose(kernel)

    def forward(t: Any, h: Any, hs: Any, zs: Any, rs: Any, ms: Any, cs: Any) -> tuple[Any, ...]:
        x_gates, x = tf.split(inputs[t], [2 * units, units])
        h_gates, m = tf.split(_product(there, h), [2 * units, units])
        z, r = tf.split(tf.sigmoid(x_gates + h_gates), 2)
        m = m + candidate_bias[:, None]
        c = tf.tanh(x + r * m)
        h = c + z * (h - c)
        return t + 1, h, hs.write(t + 1, h), zs.write(t, z), rs.write(t, r), ms.write(t, m), cs.write(t, c)

    begin = (0, state, _with_first(time + 1, state), *_arrays(4, time, state))
    _, _, hs, zs, rs, ms, cs = _loop(lambda t, *_: t < time, forward, begin)
    states = hs.stack()
    rows_first = _swapped(states)

    def gradient(upstream: Any, _: Any) -> tuple[Any, ...]:
        upstream = _swapped(upstream)

        def backward(t: Any, dh: Any, dgs: Any, dcs: Any) -> tuple[Any, ...]:
            dh = dh + upstream[t]
            z, r, m, c = zs.read(t), rs.read(t), ms.read(t), cs.read(t)
            through = dh * (1 - z)
            dc = through * (1 - c * c)  # of what tanh is taken of, as the first two of dg are of what sigmoid is
            dg = tf.concat([(states[t] - c) * z * through, dc * m * (r - r * r), dc * r], 0)
            return t - 1, dh * z + _product(kernel, dg), dgs.write(t, dg), dcs.write(t, dc)

        begin = (time - 1, tf.zeros_like(state), *_arrays(2, time, state))
        _, dh, dgs, dcs = _loop(lambda t, *_: t >= 0, backward, begin)
        dg = _swapped(dgs.stack())
        of_gates, of_candidate = tf.split(dg, [2 * units, units], 2)
        of_inputs = tf.concat([of_gates, _swapped(dcs.stack())], 2)
        bias = tf.reduce_sum(of_candidate, [0, 1])
        return of_inputs, tf.transpose(dh), _outer(rows_first[:-1], dg, kernel.dtype), bias

    return (rows_first[1:], rows_first), gradient


@tf.custom_gradient  # type: ignore[untyped-decorator]
def lstm(inputs: Any, state: Any, cell: Any, kernel: Any) -> Any:
    """Long short-term memory: ``c' = f * c + i * (2 * k - 1)`` and ``h' = o * tanh(c')``, all four gates sigmoids.

    ``tanh(x)`` is ``2 * sigmoid(2 * x) - 1``: with the candidate's columns of input and kernel doubled by the caller,
    one sigmoid serves all gates.

    Args:
        inputs: ``[time, batch, 4 * U]``, the input's part of i, f, candidate k (doubled) and o, with their biases.
        state: ``[batch, U]``, h before the first step.
        cell: ``[batch, U]``, c before the first step.
        kernel: ``[U, 4 * U]``, recurrent, the candidate's columns doubled.

    Returns:
        ``[time, batch, U]``: h after each step; and twice ``[time + 1, batch, U]``: h, and c, before the first step and
        after each, through which no gradient flows.
    """
    time = tf.shape(inputs)[0]
    inputs, state, cell, there = _swapped(inputs), tf.transpose(state), tf.transpose(cell), tf.transpose(kernel)

    def forward(t: Any, h: Any, c: Any, hs: Any, cs: Any, gs: Any, ts: Any) -> tuple[Any, ...]:
        g = tf.sigmoid(inputs[t] + _product(there, h))
        i, f, k, o = tf.split(g, 4)
        c = f * c + i * (k + k - 1)
        tanh = tf.tanh(c)
        h = o * tanh
        return t + 1, h, c, hs.write(t + 1, h), cs.write(t + 1, c), gs.write(t, g), ts.write(t, tanh)

    before = _with_first(time + 1, state), _with_first(time + 1, cell)
    begin = (0, state, cell, *before, *_arrays(2, time, state))
    *_, hs, cs, gs, ts = _loop(lambda t, *_: t < time, forward, begin)
    states, cells = _swapped(hs.stack()), cs.stack()

    def gradient(upstream: Any, *_: Any) -> tuple[Any, ...]:
        upstream = _swapped(upstream)

        def backward(t: Any, dh: Any, dc: Any, dgs: Any) -> tuple[Any, ...]:
            dh = dh + upstream[t]
            g, tanh = gs.read(t), ts.read(t)
            i, f, k, o = tf.split(g, 4)
            dc = dc + dh * (o - o * tanh * tanh)
            dg = tf.concat([dc * (k + k - 1), dc * cells[t], dc * (i + i), dh * tanh], 0) * (g - g * g)
            return t - 1, _product(kernel, dg), dc * f, dgs.write(t, dg)

        begin = (time - 1, tf.zeros_like(state), tf.zeros_like(cell), *_arrays(1, time, state))
        _, dh, dc, dgs = _loop(lambda t, *_: t >= 0, backward, begin)
        dg = _swapped(dgs.stack())
        return dg, tf.transpose(dh), tf.transpose(dc), _outer(states[:-1], dg, kernel.dtype)

    return (states[1:], states, _swapped(cells)), gradient


def _swapped(values: Any) -> Any:
    """``[time, M, N]`` → ``[time, N, M]``."""
    return tf.transpose(values, [0, 2, 1])


def _product(kernel: Any, values: Any) -> Any:
    return tf.cast(tf.matmul(kernel, tf.cast(values, kernel.dtype)), values.dtype)


def _outer(left: Any, right: Any, dtype: Any) -> Any:
    """``[time, batch, M]`` and ``[time, batch, N]`` → ``[M, N]``: the sum of outer products over time and batch."""
    left, right = (tf.reshape(tf.cast(values, dtype), [-1, values.shape[2]]) for values in (left, right))
    return tf.matmul(left, right, transpose_a=True)


def _arrays(count: int, size: Any, like: Any) -> list[Any]:
    return [tf.TensorArray(like.dtype, size) for _ in range(count)]


def _with_first(size: Any, value: Any) -> Any:
    return _arrays(1, size, value)[0].write(0, value)


def _loop(condition: Callable[..., Any], body: Callable[..., Any], begin: tuple[Any, ...]) -> Any:
    return tf.while_loop(condition, body, begin, parallel_iterations=1)
