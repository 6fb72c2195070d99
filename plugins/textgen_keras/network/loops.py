"""GRU and LSTM over whole sequences as loops of TensorFlow's operators, with their own gradients.

Within a loop a step's values are ``[units, batch]``: with the recurrent kernel as the first factor a product takes
TensorFlow a quarter less time than with it as the second, and gates are split and joined without copying. The input's
part of all gates is computed before the loop, and the gradient of the recurrent kernel after it, as one product over
all steps.

Products are in the dtype of the kernels, float32 or bfloat16; all else is in the dtype of the values.

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
    """Run a layer by TensorFlow's operators; arguments and results are those of ``run_layer``.

    ``in_halves`` runs two halves of the rows side by side: on a CPU, one core then multiplies while another does the
    work between products. On a GPU this gains nothing.
    """
    if cell == "lstm":
        doubled = tf.repeat(tf.constant([1, 1, 2, 1], kernel.dtype), recurrent_kernel.shape[0])
        projected = project(kernel * doubled, bias * doubled)
        run, weights = lstm, [recurrent_kernel * tf.cast(doubled, recurrent_kernel.dtype)]
    else:
        input_bias, candidate_bias = gru_biases(bias)
        projected = project(kernel, input_bias)
        run, weights = gru, [recurrent_kernel, candidate_bias]
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
        inputs: ``[time, batch, 3 * U]``, the input's part of update z, reset r and candidate (x), with all biases
            except the candidate's recurrent one.
        state: ``[batch, U]``, h before the first step.
        kernel: ``[U, 3 * U]``, recurrent.
        candidate_bias: ``[U]``, recurrent.

    Returns:
        h after each step, ``[time, batch, U]``; and h before the first step and after each step,
        ``[time + 1, batch, U]``, through which no gradient flows.
    """
    time, units = tf.shape(inputs)[0], state.shape[1]
    inputs, state, transposed = _swapped(inputs), tf.transpose(state), tf.transpose(kernel)

    def forward(t: Any, h: Any, hs: Any, zs: Any, rs: Any, ms: Any, cs: Any) -> tuple[Any, ...]:
        x_gates, x = tf.split(inputs[t], [2 * units, units])
        h_gates, m = tf.split(_product(transposed, h), [2 * units, units])
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
            # Gradients by the arguments of tanh and sigmoid: tanh' = 1 - tanh**2, sigmoid' = sigmoid * (1 - sigmoid).
            dc = through * (1 - c * c)
            dg = tf.concat([(states[t] - c) * z * through, dc * m * (r - r * r), dc * r], 0)
            return t - 1, dh * z + _product(kernel, dg), dgs.write(t, dg), dcs.write(t, dc)

        begin = (time - 1, tf.zeros_like(state), *_arrays(2, time, state))
        _, dh, dgs, dcs = _loop(lambda t, *_: t >= 0, backward, begin)
        dg = _swapped(dgs.stack())
        d_gates, d_candidate = tf.split(dg, [2 * units, units], 2)
        d_inputs = tf.concat([d_gates, _swapped(dcs.stack())], 2)
        d_bias = tf.reduce_sum(d_candidate, [0, 1])
        return d_inputs, tf.transpose(dh), _outer(rows_first[:-1], dg, kernel.dtype), d_bias

    return (rows_first[1:], rows_first), gradient


@tf.custom_gradient  # type: ignore[untyped-decorator]
def lstm(inputs: Any, state: Any, cell: Any, kernel: Any) -> Any:
    """Long short-term memory: ``c' = f * c + i * (2 * k - 1)`` and ``h' = o * tanh(c')``, all four gates sigmoids.

    ``tanh(x) = 2 * sigmoid(2 * x) - 1``: the caller doubles the candidate's columns of input and kernel, and one
    sigmoid computes all gates.

    Args:
        inputs: ``[time, batch, 4 * U]``, the input's part of i, f, candidate k (doubled) and o, with their biases.
        state: ``[batch, U]``, h before the first step.
        cell: ``[batch, U]``, c before the first step.
        kernel: ``[U, 4 * U]``, recurrent, the candidate's columns doubled.

    Returns:
        h after each step, ``[time, batch, U]``; and h and c before the first step and after each step, each
        ``[time + 1, batch, U]``, through which no gradient flows.
    """
    time = tf.shape(inputs)[0]
    inputs, state, cell = _swapped(inputs), tf.transpose(state), tf.transpose(cell)
    transposed = tf.transpose(kernel)

    def forward(t: Any, h: Any, c: Any, hs: Any, cs: Any, gs: Any, ts: Any) -> tuple[Any, ...]:
        g = tf.sigmoid(inputs[t] + _product(transposed, h))
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
