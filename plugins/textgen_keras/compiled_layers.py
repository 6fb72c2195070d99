"""GRU and LSTM over whole sequences, and their gradients, as machine code.

Each core reads rows of its own from the first step to the last and meets the others only at the end, while operators of
TensorFlow meet several times a step. What the backward pass finds goes into the gradients of the weights a few steps at
a time, while it is in the core's cache.

Arrays are float32 or float64, contiguous and time first. An input is a ``table`` ``[N, G * U]`` of what it adds to all
gates, their biases included, and an ``index`` ``[time, batch]`` int32 of its rows: one for each id where the input is a
look-up, one for each time and row of the batch where it is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen_keras.cores import on_all_cores, shares
from textgen_keras.formulas import Vector, add, copy, over_rows, sigmoid, tanh
from textgen_keras.tiles import (
    COLUMNS,
    DEPTH,
    ROWS,
    add_outer_products,
    add_product,
    check_index,
    clear,
    compiled,
    compiled_part,
    empty,
    pack,
    padded,
    spread,
    sum_of,
    sums_for,
    sums_from,
    zeros,
)

Array = NDArray[Any]


def lstm_forward(table: Array, index: Array, state: Array, cell: Array, kernel: Array) -> tuple[Array, Array, Array]:
    """Long short-term memory: ``c' = f * c + i * k`` and ``h' = o * tanh(c')``.

    Args:
        table: ``[N, 4 * U]``: of i, f, candidate k and o.
        index: ``[time, batch]``.
        state: ``[batch, U]``, h before the first step.
        cell: ``[batch, U]``, c before the first step.
        kernel: ``[U, 4 * U]``, recurrent.

    Returns:
        h and c, each ``[time + 1, batch, U]``, before the first step and after each; and the gates ``[time, batch,
        padded(4 * U)]``, which :func:`lstm_backward` needs.
    """
    check_index(index, len(table))
    states, cells = _with_first(state, index), _with_first(cell, index)
    gates = _gates_for(table, index)
    shared = (table, index, pack(kernel), states, cells, gates)
    on_all_cores(_lstm_forward, shares(index.shape[1], ROWS), shared)
    return states, cells, gates


def lstm_backward(
    upstream: Array, table: Array, index: Array, kernel: Array, states: Array, cells: Array, gates: Array
) -> tuple[Array, Array, Array, Array]:
    """The gradients by table, state, cell and kernel, from the one by h after each step ``[time, batch, U]``."""
    d_state, d_cell = empty(states.shape[1:], states.dtype), zeros(states.shape[1:], states.dtype)
    shared = (upstream, index, pack(kernel.T), states, cells, gates, d_state, d_cell)
    rows = shares(index.shape[1], ROWS)
    tables, kernels = _tables_of(rows, table, index), [sums_for(kernel) for _ in rows]
    on_all_cores(_lstm_backward, rows, shared, tables, kernels)
    return sum_of(tables), d_state, d_cell, sums_from(kernels, kernel)


def gru_forward(table: Array, index: Array, state: Array, kernel: Array, bias: Array) -> tuple[Array, Array, Array]:
    """Gated recurrent units: ``h' = z * h + (1 - z) * c`` with ``c = tanh(x + r * (h @ kernel + bias))``.

    Args:
        table: ``[N, 3 * U]``: of update z, reset r and candidate (x), with all of their biases but the candidate's
            recurrent one.
        index: ``[time, batch]``.
        state: ``[batch, U]``, h before the first step.
        kernel: ``[U, 3 * U]``, recurrent.
        bias: ``[U]``, the candidate's recurrent one.

    Returns:
        h ``[time + 1, batch, U]``, before the first step and after each; and what :func:`gru_backward` needs: z, r and
        what r is multiplied with, ``[time, batch, padded(3 * U)]``, and c ``[time, batch, U]``.
    """
    check_index(index, len(table))
    states, gates = _with_first(state, index), _gates_for(table, index)
    candidates = empty((*index.shape, state.shape[1]), table.dtype)
    shared = (table, index, pack(kernel), bias, states, gates, candidates)
    on_all_cores(_gru_forward, shares(index.shape[1], ROWS), shared)
    return states, gates, candidates


def gru_backward(
    upstream: Array, table: Array, index: Array, kernel: Array, states: Array, gates: Array, candidates: Array
) -> tuple[Array, Array, Array, Array]:
    """The gradients by table, state, kernel and bias, from the one by h after each step ``[time, batch, U]``."""
    d_state = empty(states.shape[1:], states.dtype)
    shared = (upstream, index, pack(kernel.T), states, gates, candidates, d_state)
    rows = shares(index.shape[1], ROWS)
    tables, kernels = _tables_of(rows, table, index), [sums_for(kernel) for _ in rows]
    biases = [zeros(d_state.shape[1:], states.dtype) for _ in rows]
    on_all_cores(_gru_backward, rows, shared, tables, kernels, biases)
    return sum_of(tables), d_state, sums_from(kernels, kernel), sum_of(biases)


# --- the rows of one core


@over_rows
def _lstm_step(i: Vector, f: Vector, k: Vector, o: Vector, c: Vector) -> tuple[Vector, ...]:
    i, f, o, k = sigmoid(i), sigmoid(f), sigmoid(o), tanh(k)
    c = f * c + i * k
    return i, f, k, o, c, o * tanh(c)


@over_rows
def _lstm_step_back(
    dh: Vector, upstream: Vector, dc: Vector, i: Vector, f: Vector, k: Vector, o: Vector, before: Vector, c: Vector
) -> tuple[Vector, ...]:
    dh, t = dh + upstream, tanh(c)
    dc = dc + dh * o * (1 - t * t)
    return dc * k * (i - i * i), dc * before * (f - f * f), dc * i * (1 - k * k), dh * t * (o - o * o), dc * f


@over_rows
def _gru_step(z: Vector, r: Vector, m: Vector, x: Vector, h: Vector) -> tuple[Vector, ...]:
    z, r = sigmoid(z), sigmoid(r)
    c = tanh(x + r * m)
    return z, r, c, c + z * (h - c)


@over_rows
def _gru_step_back(
    dh: Vector, upstream: Vector, z: Vector, r: Vector, m: Vector, c: Vector, h: Vector, bias: Vector
) -> tuple[Vector, ...]:
    dh = dh + upstream
    through = dh * (1 - z)
    dc = through * (1 - c * c)
    dz, dr, dm = (h - c) * through * z, dc * m * (r - r * r), dc * r
    return dz, dr, dc, dz, dr, dm, dh * z, bias + dm


@compiled_part
def _parts(row: Any, units: int) -> Any:
    return row[:units], row[units : 2 * units], row[2 * units : 3 * units], row[3 * units : 4 * units]


@compiled_part
def _three_parts(row: Any, units: int) -> Any:
    return row[:units], row[units : 2 * units], row[2 * units : 3 * units]


@compiled
def _lstm_forward(
    begin: int, end: int, table: Any, index: Any, panels: Any, states: Any, cells: Any, gates: Any
) -> None:
    units = states.shape[2]
    for t in range(len(index)):
        for row in range(begin, end):
            copy((table[index[t, row]],), (gates[t, row, : 4 * units],), ())
        add_product(gates[t, begin:end], states[t, begin:end], panels)
        for row in range(begin, end):
            of_row = _parts(gates[t, row], units)
            _lstm_step((*of_row, cells[t, row]), (*of_row, cells[t + 1, row], states[t + 1, row]), ())


@compiled
def _lstm_backward(
    begin: int,
    end: int,
    upstream: Any,
    index: Any,
    panels: Any,
    states: Any,
    cells: Any,
    gates: Any,
    d_state: Any,
    d_cell: Any,
    d_table: Any,
    d_kernel: Any,
) -> None:
    time, _, units = upstream.shape
    rows = end - begin
    sums = np.zeros((rows, len(panels) * COLUMNS), upstream.dtype)
    block = max(DEPTH // max(rows, 1), 1) * rows
    h, d_gates = np.empty((block, spread(units)), upstream.dtype), np.empty((block, 4 * units), upstream.dtype)
    done = 0
    for t in range(time - 1, -1, -1):
        first = done
        for row in range(begin, end):
            dh, dc, d = sums[row - begin, :units], d_cell[row], d_gates[done]
            read = (dh, upstream[t, row], dc, *_parts(gates[t, row], units), cells[t, row], cells[t + 1, row])
            _lstm_step_back(read, (*_parts(d, units), dc), ())
            of_input = d_table[index[t, row]]
            add((d, of_input), (of_input,), ())
            copy((states[t, row],), (h[done, :units],), ())
            done += 1
        clear(sums)
        add_product(sums, d_gates[first:done], panels)
        if done == block or t == 0:
            add_outer_products(d_kernel, h[:done], d_gates[:done])
            done = 0
    for row in range(begin, end):
        copy((sums[row - begin, :units],), (d_state[row],), ())


@compiled
def _gru_forward(
    begin: int,
    end: int,
    table: Any,
    index: Any,
    panels: Any,
    bias: Any,
    states: Any,
    gates: Any,
    candidates: Any,
) -> None:
    units = states.shape[2]
    for t in range(len(index)):
        for row in range(begin, end):
            copy((table[index[t, row], : 2 * units],), (gates[t, row, : 2 * units],), ())
            copy((bias,), (gates[t, row, 2 * units : 3 * units],), ())
        add_product(gates[t, begin:end], states[t, begin:end], panels)
        for row in range(begin, end):
            z, r, m = _three_parts(gates[t, row], units)
            x = table[index[t, row], 2 * units :]
            _gru_step((z, r, m, x, states[t, row]), (z, r, candidates[t, row], states[t + 1, row]), ())


@compiled
def _gru_backward(
    begin: int,
    end: int,
    upstream: Any,
    index: Any,
    panels: Any,
    states: Any,
    gates: Any,
    candidates: Any,
    d_state: Any,
    d_table: Any,
    d_kernel: Any,
    d_bias: Any,
) -> None:
    time, _, units = upstream.shape
    rows = end - begin
    sums = np.zeros((rows, len(panels) * COLUMNS), upstream.dtype)
    block = max(DEPTH // max(rows, 1), 1) * rows
    h, d_hidden = np.empty((block, spread(units)), upstream.dtype), np.empty((block, 3 * units), upstream.dtype)
    d = np.empty(3 * units, upstream.dtype)
    done = 0
    for t in range(time - 1, -1, -1):
        first = done
        for row in range(begin, end):
            dh = sums[row - begin, :units]
            of_row = _three_parts(gates[t, row], units)
            read = (dh, upstream[t, row], *of_row, candidates[t, row], states[t, row], d_bias)
            _gru_step_back(read, (*_three_parts(d, units), *_three_parts(d_hidden[done], units), dh, d_bias), ())
            of_input = d_table[index[t, row]]
            add((d, of_input), (of_input,), ())
            copy((states[t, row],), (h[done, :units],), ())
            done += 1
        add_product(sums, d_hidden[first:done], panels)
        if done == block or t == 0:
            add_outer_products(d_kernel, h[:done], d_hidden[:done])
            done = 0
    for row in range(begin, end):
        copy((sums[row - begin, :units],), (d_state[row],), ())


def _with_first(state: Array, index: Array) -> Array:
    states = empty((len(index) + 1, *state.shape), state.dtype)
    states[0] = state
    return states


def _gates_for(table: Array, index: Array) -> Array:
    """Where a step's product is made, and becomes gates in place."""
    columns = table.shape[1]
    gates = empty((*index.shape, padded(columns)), table.dtype)
    gates[:, :, columns:] = 0
    return gates


def _tables_of(rows: list[tuple[int, int]], table: Array, index: Array) -> list[Array]:
    """A gradient for each share of the rows; one for all where each row of the table is read once."""
    if np.array_equal(index.reshape(-1), np.arange(len(table))):
        return [zeros(table.shape, table.dtype)] * len(rows)
    return [zeros(table.shape, table.dtype) for _ in rows]
