"""GRU and LSTM over whole sequences with gradients of their own, for training on a CPU.

Time comes first, so that a step reads and writes one block of memory. The input's part of all gates is computed before
the loop; the backward loop multiplies by recurrent kernels that were transposed once, and the gradient of a recurrent
kernel is one product over all steps after it. Keras's gate order, and Keras's GRU with ``reset_after``.

Importing this module imports TensorFlow: see :func:`require_tensorflow`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from textgen.network import Cell

#: Widest layer whose rows are divided in two halves, which two cores can work on at once. Up to there an operation of a
#: step is too small for two cores; beyond, both share in each product. A step of 64 rows of 100 characters, two cores:
#: LSTM 128 83 → 63 ms, LSTM 256 283 → 166 ms, GRU 512 464 → 379 ms, but GRU 1024 1.30 → 1.66 s.
_HALVED_UP_TO = 512

#: Takes columns of a layer's kernel and their bias to the input's part of as many gates, ``[time, batch, columns]``.
Project = Callable[[Any, Any], Any]

#: Largest vocabulary for which the gradient of a look-up is a product with one-hot rows, and not a scattered sum.
_ONE_HOT_BELOW = 1024


def run_layer(
    cell: Cell, project: Project, state: list[Any], recurrent_kernel: Any, kernel: Any, bias: Any
) -> tuple[Any, list[Any]]:
    """Run a layer with weights as Keras lays them out.

    Args:
        cell: its kind.
        project: the input, as a function of the kernel's columns.
        state: h and, for an LSTM, c, each ``[batch, U]``.
        recurrent_kernel: ``[U, G * U]``.
        kernel: ``[I, G * U]``.
        bias: GRU ``[2, 3 * U]``, LSTM ``[4 * U]``.

    Returns:
        ``[time, batch, U]``: h after each step; and for each tensor of the state ``[time + 1, batch, U]``, its values
        before the first step and after each.
    """
    units = recurrent_kernel.shape[0]
    if cell == "lstm":
        doubled = tf.repeat(tf.constant([1, 1, 2, 1], kernel.dtype), units)
        return _in_halves(lstm, [project(kernel * doubled, bias * doubled)], state, recurrent_kernel * doubled)
    gates, candidate = slice(0, 2 * units), slice(2 * units, 3 * units)
    projected = [
        project(kernel[:, gates], bias[0, gates] + bias[1, gates]),
        project(kernel[:, candidate], bias[0, candidate]),
    ]
    return _in_halves(
        gru, projected, state, recurrent_kernel[:, gates], recurrent_kernel[:, candidate], bias[1, candidate]
    )


def _in_halves(run: Callable[..., Any], projected: list[Any], state: list[Any], *weights: Any) -> tuple[Any, list[Any]]:
    """Run a layer, a small one in two halves of its rows."""
    units = state[0].shape[1]
    if units > _HALVED_UP_TO:
        outputs, *states = run(*projected, *state, *weights)
        return outputs, states
    rows = tf.shape(state[0])[0]
    sizes = [rows // 2, rows - rows // 2]
    parts = [tf.split(values, sizes, axis=1, num=2) for values in projected]
    parts += [tf.split(values, sizes, axis=0, num=2) for values in state]
    halves = [run(*half, *weights) for half in zip(*parts, strict=True)]
    outputs, *states = (tf.concat(both, 1) for both in zip(*halves, strict=True))
    return outputs, states


@tf.custom_gradient  # type: ignore[untyped-decorator]
def look_up(table: Any, ids: Any) -> Any:
    """Rows of a table: ``[V, N]`` and ``[time, batch]`` int32 → ``[time, batch, N]``."""

    def gradient(upstream: Any) -> tuple[Any, None]:
        vocab, columns = table.shape
        rows, flat = tf.reshape(ids, [-1]), tf.reshape(upstream, [-1, columns])
        if vocab < _ONE_HOT_BELOW:
            return tf.matmul(tf.one_hot(rows, vocab), flat, transpose_a=True), None
        return tf.math.unsorted_segment_sum(flat, rows, vocab), None

    return tf.gather(table, ids), gradient


@tf.custom_gradient  # type: ignore[untyped-decorator]
def gru(gates: Any, candidate: Any, state: Any, gate_kernel: Any, candidate_kernel: Any, candidate_bias: Any) -> Any:
    """Gated recurrent units: ``h' = z * h + (1 - z) * c`` with ``c = tanh(x + r * (h @ kernel + bias))``.

    Args:
        gates: ``[time, batch, 2 * U]``, the input's part of update z and reset r, with all of their biases.
        candidate: ``[time, batch, U]``, the input's part x of the candidate, with its bias.
        state: ``[batch, U]``, h before the first step.
        gate_kernel: ``[U, 2 * U]``, recurrent.
        candidate_kernel: ``[U, U]``, recurrent.
        candidate_bias: ``[U]``, recurrent.

    Returns:
        ``[time, batch, U]``: h after each step; and ``[time + 1, batch, U]``: h before the first step and after each,
        through which no gradient flows.
    """
    time, units = tf.shape(gates)[0], state.shape[1]

    def forward(t: Any, h: Any, hs: Any, zs: Any, rs: Any, ms: Any, cs: Any) -> tuple[Any, ...]:
        z, r = tf.split(tf.sigmoid(gates[t] + tf.matmul(h, gate_kernel)), 2, axis=1)
        m = tf.nn.bias_add(tf.matmul(h, candidate_kernel), candidate_bias)
        c = tf.tanh(candidate[t] + r * m)
        h = c + z * (h - c)
        return t + 1, h, hs.write(t + 1, h), zs.write(t, z), rs.write(t, r), ms.write(t, m), cs.write(t, c)

    begin = (0, state, _with_first(time + 1, state), *_arrays(4, time, state))
    _, _, hs, zs, rs, ms, cs = _loop(lambda t, *_: t < time, forward, begin)
    states = hs.stack()

    def gradient(upstream: Any, _: Any) -> tuple[Any, ...]:
        gate_back, candidate_back = tf.transpose(gate_kernel), tf.transpose(candidate_kernel)

        def backward(t: Any, dh: Any, dgs: Any, dms: Any, dcs: Any) -> tuple[Any, ...]:
            dh = dh + upstream[t]
            z, r, m, c = zs.read(t), rs.read(t), ms.read(t), cs.read(t)
            through = dh * (1 - z)
            dc = through * (1 - c * c)  # of what tanh is taken of, as the next two are of what sigmoid is taken of
            dm = dc * r
            dg = tf.concat([(states[t] - c) * z * through, dm * m * (1 - r)], 1)
            dh = dh * z + tf.matmul(dg, gate_back) + tf.matmul(dm, candidate_back)
            return t - 1, dh, dgs.write(t, dg), dms.write(t, dm), dcs.write(t, dc)

        begin = (time - 1, tf.zeros_like(state), *_arrays(3, time, state))
        _, dh, dgs, dms, dcs = _loop(lambda t, *_: t >= 0, backward, begin)
        dg, dm = dgs.stack(), dms.stack()
        flat = tf.reshape(dm, [-1, units])
        bias = tf.reshape(tf.matmul(tf.ones_like(flat[:, :1]), flat, transpose_a=True), [units])
        return dg, dcs.stack(), dh, _outer(states[:-1], dg), _outer(states[:-1], dm), bias

    return (states[1:], states), gradient


@tf.custom_gradient  # type: ignore[untyped-decorator]
def lstm(gates: Any, state: Any, cell: Any, kernel: Any) -> Any:
    """Long short-term memory: ``c' = f * c + i * (2 * k - 1)`` and ``h' = o * tanh(c')``, all four gates sigmoids.

    ``tanh(x)`` is ``2 * sigmoid(2 * x) - 1``: with the candidate's columns of input and kernel doubled by the caller,
    one sigmoid serves all gates.

    Args:
        gates: ``[time, batch, 4 * U]``, the input's part of i, f, candidate k (doubled) and o, with their biases.
        state: ``[batch, U]``, h before the first step.
        cell: ``[batch, U]``, c before the first step.
        kernel: ``[U, 4 * U]``, recurrent, the candidate's columns doubled.

    Returns:
        ``[time, batch, U]``: h after each step; and twice ``[time + 1, batch, U]``: h, and c, before the first step and
        after each, through which no gradient flows.
    """
    time = tf.shape(gates)[0]

    def forward(t: Any, h: Any, c: Any, hs: Any, cs: Any, gs: Any, ts: Any) -> tuple[Any, ...]:
        g = tf.sigmoid(gates[t] + tf.matmul(h, kernel))
        i, f, k, o = tf.split(g, 4, axis=1)
        c = f * c + i * (k + k - 1)
        tanh = tf.tanh(c)
        h = o * tanh
        return t + 1, h, c, hs.write(t + 1, h), cs.write(t + 1, c), gs.write(t, g), ts.write(t, tanh)

    before = _with_first(time + 1, state), _with_first(time + 1, cell)
    begin = (0, state, cell, *before, *_arrays(2, time, state))
    *_, hs, cs, gs, ts = _loop(lambda t, *_: t < time, forward, begin)
    states, cells = hs.stack(), cs.stack()

    def gradient(upstream: Any, *_: Any) -> tuple[Any, ...]:
        back = tf.transpose(kernel)

        def backward(t: Any, dh: Any, dc: Any, dgs: Any) -> tuple[Any, ...]:
            dh = dh + upstream[t]
            g, tanh = gs.read(t), ts.read(t)
            i, f, k, o = tf.split(g, 4, axis=1)
            dc = dc + dh * (o - o * tanh * tanh)
            dg = tf.concat([dc * (k + k - 1), dc * cells[t], dc * (i + i), dh * tanh], 1) * (g - g * g)
            return t - 1, tf.matmul(dg, back), dc * f, dgs.write(t, dg)

        begin = (time - 1, tf.zeros_like(state), tf.zeros_like(cell), *_arrays(1, time, state))
        _, dh, dc, dgs = _loop(lambda t, *_: t >= 0, backward, begin)
        dg = dgs.stack()
        return dg, dh, dc, _outer(states[:-1], dg)

    return (states[1:], states, cells), gradient


def _arrays(count: int, size: Any, like: Any) -> list[Any]:
    return [tf.TensorArray(like.dtype, size) for _ in range(count)]


def _with_first(size: Any, value: Any) -> Any:
    return _arrays(1, size, value)[0].write(0, value)


def _loop(condition: Callable[..., Any], body: Callable[..., Any], begin: tuple[Any, ...]) -> Any:
    return tf.while_loop(condition, body, begin, parallel_iterations=1)


def _outer(left: Any, right: Any) -> Any:
    """``[time, batch, M]`` and ``[time, batch, N]`` → ``[M, N]``: the sum of outer products over time and batch."""
    return tf.matmul(tf.reshape(left, [-1, left.shape[2]]), tf.reshape(right, [-1, right.shape[2]]), transpose_a=True)
