"""GRU and LSTM over whole sequences, and their gradients, as machine code.

Each core reads rows of its own from the first step to the last and meets the others only at the end, while operators of
TensorFlow meet several times a step. What the backward pass finds goes into the gradients of the weights a few steps at
a time, while it is in the core's cache.

Arrays are float32 or float64 and contiguous, and all but the index have time first. An input is a ``table``
``[N, G * U]`` of what it adds to all gates, biases included, and an ``index`` ``[batch, time]`` int32 of its rows: one
for each id where the input is a look-up, one for each time and row of the batch where it is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen_keras.kernels.arrays import check_index, clear, empty, scratch, sum_of, zeros
from textgen_keras.kernels.jit import compiled, compiled_in_place
from textgen_keras.kernels.matmul import (
    DEPTH,
    ROWS,
    add_outer_products,
    add_product,
    padded,
    spread,
    sums_for,
    sums_from,
)
from textgen_keras.kernels.packing import pack, pack_transposed, shared_panels
from textgen_keras.kernels.threads import on_all_cores, shares
from textgen_keras.kernels.vectors import Vector, add, copy, over_rows, sigmoid, tanh

Array = NDArray[Any]

#: What a processor's caches are expected to keep of a layer's states and gates, in bytes.
LARGEST_KEPT = 2**21


def lstm_forward(table: Array, index: Array, state: Array, cell: Array, kernel: Array) -> tuple[Array, Array, Array]:
    """Long short-term memory: ``c' = f * c + i * k`` and ``h' = o * tanh(c')``.

    Args:
        table: ``[N, 4 * U]``: of i, f, candidate k and o.
        index: ``[batch, time]``.
        state: ``[batch, U]``, h before the first step.
        cell: ``[batch, U]``, c before the first step.
        kernel: ``[U, 4 * U]``, recurrent.

    Returns:
        h and c, each ``[time + 1, batch, U]``, before the first step and after each; and the gates ``[time, batch,
        4 * U]``, which :func:`lstm_backward` needs.
    """
    check_index(index, len(table))
    states, cells = _with_first(state, index), _with_first(cell, index)
    gates = empty((*reversed(index.shape), table.shape[1]), table.dtype)
    goes_past_cache = _goes_past_cache(states, cells, gates)
    shared = (table, index, kernel, shared_panels(kernel), states, cells, gates, goes_past_cache)
    on_all_cores(_lstm_forward, shares(len(index), ROWS), shared)
    return states, cells, gates


def lstm_backward(
    upstream: Array, table: Array, index: Array, kernel: Array, states: Array, cells: Array, gates: Array
) -> tuple[Array, Array, Array, Array]:
    """The gradients by table, state, cell and kernel, from the one by h after each step ``[time, batch, U]``."""
    d_state, d_cell = empty(states.shape[1:], states.dtype), zeros(states.shape[1:], states.dtype)
    shared = (upstream, index, kernel, shared_panels(kernel, transposed=True), states, cells, gates, d_state, d_cell)
    rows = shares(len(index), ROWS)
    tables, kernels = _tables_of(rows, table, index), [sums_for(kernel) for _ in rows]
    on_all_cores(_lstm_backward, rows, shared, tables, kernels)
    return sum_of(tables), d_state, d_cell, sums_from(kernels, kernel)


def gru_forward(table: Array, index: Array, state: Array, kernel: Array, bias: Array) -> tuple[Array, Array, Array]:
    """Gated recurrent units: ``h' = z * h + (1 - z) * c`` with ``c = tanh(x + r * (h @ kernel + bias))``.

    Args:
        table: ``[N, 3 * U]``: of update z, reset r and candidate (x), with all of their biases but the candidate's
            recurrent one.
        index: ``[batch, time]``.
        state: ``[batch, U]``, h before the first step.
        kernel: ``[U, 3 * U]``, recurrent.
        bias: ``[U]``, the candidate's recurrent one.

    Returns:
        h ``[time + 1, batch, U]``, before the first step and after each; and what :func:`gru_backward` needs: z, r and
        what r is multiplied with, ``[time, batch, 3 * U]``, and c ``[time, batch, U]``.
    """
    check_index(index, len(table))
    states = _with_first(state, index)
    gates = empty((*reversed(index.shape), table.shape[1]), table.dtype)
    candidates = empty((*reversed(index.shape), state.shape[1]), table.dtype)
    goes_past_cache = _goes_past_cache(states, gates, candidates)
    shared = (table, index, kernel, shared_panels(kernel), bias, states, gates, candidates, goes_past_cache)
    on_all_cores(_gru_forward, shares(len(index), ROWS), shared)
    return states, gates, candidates


def gru_backward(
    upstream: Array, table: Array, index: Array, kernel: Array, states: Array, gates: Array, candidates: Array
) -> tuple[Array, Array, Array, Array]:
    """The gradients by table, state, kernel and bias, from the one by h after each step ``[time, batch, U]``."""
    d_state = empty(states.shape[1:], states.dtype)
    shared = (upstream, index, kernel, shared_panels(kernel, transposed=True), states, gates, candidates, d_state)
    rows = shares(len(index), ROWS)
    tables, kernels = _tables_of(rows, table, index), [sums_for(kernel) for _ in rows]
    biases = [zeros(d_state.shape[1:], states.dtype) for _ in rows]
    on_all_cores(_gru_backward, rows, shared, tables, kernels, biases)
    return sum_of(tables), d_state, sums_from(kernels, kernel), sum_of(biases)


# --- the rows of one core

# A step gives what is kept for the way back, past the cache if need be, and then what the next step reads.


def _lstm(i: Vector, f: Vector, k: Vector, o: Vector, c: Vector) -> tuple[Vector, ...]:
    i, f, o, k = sigmoid(i), sigmoid(f), sigmoid(o), tanh(k)
    c = f * c + i * k
    h = o * tanh(c)
    return i, f, k, o, c, h, c, h


_lstm_step, _lstm_step_past_cache = over_rows(_lstm), over_rows(_lstm, past_cache=6)


@over_rows
def _lstm_step_back(
    dh: Vector, upstream: Vector, dc: Vector, i: Vector, f: Vector, k: Vector, o: Vector, before: Vector, c: Vector
) -> tuple[Vector, ...]:
    dh, t = dh + upstream, tanh(c)
    dc = dc + dh * o * (1 - t * t)
    return dc * k * (i - i * i), dc * before * (f - f * f), dc * i * (1 - k * k), dh * t * (o - o * o), dc * f


def _gru(z: Vector, r: Vector, m: Vector, x: Vector, h: Vector) -> tuple[Vector, ...]:
    z, r = sigmoid(z), sigmoid(r)
    c = tanh(x + r * m)
    h = c + z * (h - c)
    return z, r, m, c, h, h


_gru_step, _gru_step_past_cache = over_rows(_gru), over_rows(_gru, past_cache=5)


@over_rows
def _gru_step_back(
    dh: Vector, upstream: Vector, z: Vector, r: Vector, m: Vector, c: Vector, h: Vector, bias: Vector
) -> tuple[Vector, ...]:
    dh = dh + upstream
    through = dh * (1 - z)
    dc = through * (1 - c * c)
    dz, dr, dm = (h - c) * through * z, dc * m * (r - r * r), dc * r
    return dz, dr, dc, dz, dr, dm, dh * z, bias + dm


@compiled_in_place
def _four(flat: Any, at: int, apart: int) -> Any:
    """Rows of formulas: the parts of the gates of a row."""
    return (flat, at), (flat, at + apart), (flat, at + 2 * apart), (flat, at + 3 * apart)


@compiled_in_place
def _three(flat: Any, at: int, apart: int) -> Any:
    return (flat, at), (flat, at + apart), (flat, at + 2 * apart)


@compiled
def _lstm_forward(
    begin: int,
    end: int,
    table: Any,
    index: Any,
    kernel: Any,
    panels_of_all: Any,
    states: Any,
    cells: Any,
    gates: Any,
    goes_past_cache: bool,
) -> None:
    time, batch, width = gates.shape
    units = states.shape[2]
    panels = panels_of_all if len(panels_of_all) else pack(kernel)
    rows, apart = end - begin, padded(width)
    flat_sums = scratch(rows * apart, kernel)
    flat_h, flat_c = scratch(rows * units, kernel), scratch(rows * units, kernel)
    sums, h = flat_sums.reshape((rows, apart)), flat_h.reshape((rows, units))
    flat_table, flat_gates = table.reshape(-1), gates.reshape(-1)
    flat_states, flat_cells = states.reshape(-1), cells.reshape(-1)
    clear(flat_sums)
    copy(((flat_states, begin * units),), ((flat_h, 0),), (), rows * units)
    copy(((flat_cells, begin * units),), ((flat_c, 0),), (), rows * units)
    for t in range(time):
        for row in range(rows):
            of_input = (flat_table, index[begin + row, t] * width)
            copy((of_input,), ((flat_sums, row * apart),), (), width)
        add_product(sums, h, panels)
        for row in range(rows):
            c = (flat_c, row * units)
            read = (*_four(flat_sums, row * apart, units), c)
            now = t * batch + begin + row
            cell, state = (flat_cells, (now + batch) * units), (flat_states, (now + batch) * units)
            written = (*_four(flat_gates, now * width, units), cell, state, c, (flat_h, row * units))
            if goes_past_cache:
                _lstm_step_past_cache(read, written, (), units)
            else:
                _lstm_step(read, written, (), units)


@compiled
def _lstm_backward(
    begin: int,
    end: int,
    upstream: Any,
    index: Any,
    kernel: Any,
    panels_of_all: Any,
    states: Any,
    cells: Any,
    gates: Any,
    d_state: Any,
    d_cell: Any,
    d_table: Any,
    d_kernel: Any,
) -> None:
    time, batch, width = gates.shape
    units = states.shape[2]
    panels = panels_of_all if len(panels_of_all) else pack_transposed(kernel)
    rows, apart, h_apart = end - begin, padded(units), spread(units)
    block = max(DEPTH // max(rows, 1), 1) * rows
    flat_sums, flat_h = scratch(rows * apart, kernel), scratch(block * h_apart, kernel)
    flat_d = scratch(block * 4 * units, kernel)
    sums, h = flat_sums.reshape((rows, apart)), flat_h.reshape((block, h_apart))
    d_gates = flat_d.reshape((block, 4 * units))
    flat_gates, flat_cells, flat_states = gates.reshape(-1), cells.reshape(-1), states.reshape(-1)
    flat_upstream, flat_d_table = upstream.reshape(-1), d_table.reshape(-1)
    flat_d_state, flat_d_cell = d_state.reshape(-1), d_cell.reshape(-1)
    clear(flat_sums)
    clear(d_kernel)
    done = 0
    for t in range(time - 1, -1, -1):
        first = done
        for row in range(begin, end):
            dh, dc = (flat_sums, (row - begin) * apart), (flat_d_cell, row * units)
            now = t * batch + row
            before, after = (flat_cells, now * units), (flat_cells, (now + batch) * units)
            of_gates = _four(flat_gates, now * width, units)
            read = (dh, (flat_upstream, now * units), dc, *of_gates, before, after)
            _lstm_step_back(read, (*_four(flat_d, done * width, units), dc), (), units)
            of_input = (flat_d_table, index[row, t] * width)
            add(((flat_d, done * width), of_input), (of_input,), (), width)
            copy(((flat_states, now * units),), ((flat_h, done * h_apart),), (), units)
            done += 1
        clear(flat_sums)
        add_product(sums, d_gates[first:done], panels)
        if done == block or t == 0:
            add_outer_products(d_kernel, h[:done], d_gates[:done])
            done = 0
    for row in range(begin, end):
        copy(((flat_sums, (row - begin) * apart),), ((flat_d_state, row * units),), (), units)


@compiled
def _gru_forward(
    begin: int,
    end: int,
    table: Any,
    index: Any,
    kernel: Any,
    panels_of_all: Any,
    bias: Any,
    states: Any,
    gates: Any,
    candidates: Any,
    goes_past_cache: bool,
) -> None:
    time, batch, width = gates.shape
    units = states.shape[2]
    panels = panels_of_all if len(panels_of_all) else pack(kernel)
    rows, apart = end - begin, padded(width)
    flat_sums, flat_h = scratch(rows * apart, kernel), scratch(rows * units, kernel)
    sums, h_rows = flat_sums.reshape((rows, apart)), flat_h.reshape((rows, units))
    flat_table, flat_gates = table.reshape(-1), gates.reshape(-1)
    flat_states, flat_candidates = states.reshape(-1), candidates.reshape(-1)
    clear(flat_sums)
    copy(((flat_states, begin * units),), ((flat_h, 0),), (), rows * units)
    for t in range(time):
        for row in range(rows):
            of_input = (flat_table, index[begin + row, t] * width)
            copy((of_input,), ((flat_sums, row * apart),), (), 2 * units)
            copy(((bias, 0),), ((flat_sums, row * apart + 2 * units),), (), units)
        add_product(sums, h_rows, panels)
        for row in range(rows):
            h, x = (flat_h, row * units), (flat_table, index[begin + row, t] * width + 2 * units)
            read = (*_three(flat_sums, row * apart, units), x, h)
            now = t * batch + begin + row
            candidate, state = (flat_candidates, now * units), (flat_states, (now + batch) * units)
            written = (*_three(flat_gates, now * width, units), candidate, state, h)
            if goes_past_cache:
                _gru_step_past_cache(read, written, (), units)
            else:
                _gru_step(read, written, (), units)


@compiled
def _gru_backward(
    begin: int,
    end: int,
    upstream: Any,
    index: Any,
    kernel: Any,
    panels_of_all: Any,
    states: Any,
    gates: Any,
    candidates: Any,
    d_state: Any,
    d_table: Any,
    d_kernel: Any,
    d_bias: Any,
) -> None:
    time, batch, width = gates.shape
    units = states.shape[2]
    panels = panels_of_all if len(panels_of_all) else pack_transposed(kernel)
    rows, apart, h_apart = end - begin, padded(units), spread(units)
    block = max(DEPTH // max(rows, 1), 1) * rows
    flat_sums, flat_h = scratch(rows * apart, kernel), scratch(block * h_apart, kernel)
    flat_d, d = scratch(block * 3 * units, kernel), scratch(3 * units, kernel)
    sums, h = flat_sums.reshape((rows, apart)), flat_h.reshape((block, h_apart))
    d_hidden = flat_d.reshape((block, 3 * units))
    flat_gates, flat_candidates, flat_states = gates.reshape(-1), candidates.reshape(-1), states.reshape(-1)
    flat_upstream, flat_d_table, flat_d_state = upstream.reshape(-1), d_table.reshape(-1), d_state.reshape(-1)
    clear(flat_sums)
    clear(d_kernel)
    of_bias = (d_bias, 0)
    done = 0
    for t in range(time - 1, -1, -1):
        first = done
        for row in range(begin, end):
            dh, now = (flat_sums, (row - begin) * apart), t * batch + row
            before = (flat_states, now * units)
            of_gates = _three(flat_gates, now * width, units)
            read = (dh, (flat_upstream, now * units), *of_gates, (flat_candidates, now * units), before, of_bias)
            written = (*_three(d, 0, units), *_three(flat_d, done * width, units), dh, of_bias)
            _gru_step_back(read, written, (), units)
            of_input = (flat_d_table, index[row, t] * width)
            add(((d, 0), of_input), (of_input,), (), width)
            copy((before,), ((flat_h, done * h_apart),), (), units)
            done += 1
        add_product(sums, d_hidden[first:done], panels)
        if done == block or t == 0:
            add_outer_products(d_kernel, h[:done], d_hidden[:done])
            done = 0
    for row in range(begin, end):
        copy(((flat_sums, (row - begin) * apart),), ((flat_d_state, row * units),), (), units)


def _with_first(state: Array, index: Array) -> Array:
    states = empty((index.shape[1] + 1, *state.shape), state.dtype)
    states[0] = state
    return states


def _goes_past_cache(states: Array, *others: Array) -> bool:
    """Whether what a layer keeps for its way back is to be written to memory past the cache.

    That is, whether it is too large for one, and all of its rows begin at multiples of 64 bytes, as they must for that;
    the arrays are from :func:`textgen_keras.kernels.arrays.empty`.
    """
    size = sum(array.nbytes for array in (states, *others))
    return size > LARGEST_KEPT and states.shape[-1] * states.itemsize % 64 == 0


def _tables_of(rows: list[tuple[int, int]], table: Array, index: Array) -> list[Array]:
    """A gradient for each share of the rows; one for all where each row of the table is read once."""
    if index.size == len(table) and np.array_equal(index.T.reshape(-1), np.arange(len(table))):
        return [zeros(table.shape, table.dtype)] * len(rows)
    return [zeros(table.shape, table.dtype) for _ in rows]
