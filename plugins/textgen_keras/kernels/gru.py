"""Gated recurrent units over whole sequences, and their gradients.

Cho et al. 2014, in the variant of Keras's ``reset_after``, whose one product per step serves all gates. A step takes h,
``[U]``, to h'. With W the recurrent kernel ``[U, 3 * U]``, x = [xz, xr, xg] the input's row of the table ``[3 * U]``,
b the recurrent bias of the candidate ``[U]``, σ the sigmoid, and ``*`` element by element::

    [az, ar, m] = [xz, xr, b] + h W
    z = σ(az)    r = σ(ar)    g = tanh(xg + r * m)
    h' = z * h + (1 - z) * g                 computed as g + z * (h - g)

The gates are update and reset, and g is the candidate: Keras's order. The table contains all other biases.

The backward pass runs from the last step to the first. Let ``d_y`` be the derivative of the loss by y. A step is given
``upstream``, the part of d_h' that comes from the layer above, and d_h', the part that comes from the step after it (0
for the last one). By the chain rule, with tanh' = 1 - tanh² and σ' = σ - σ²::

    d_h' += upstream
    d_xg = d_h' * (1 - z) * (1 - g²)         since h' = z * h + (1 - z) * g
    d_az = d_h' * (h - g) * (z - z²)         which is (h - g) * (d_h' * (1 - z)) * z
    d_ar = d_xg * m * (r - r²)               since g = tanh(xg + r * m)
    d_m  = d_xg * r

    d_a = [d_az, d_ar, d_m]
    d_h = d_h' * z + d_a Wᵀ                  for the step before
    d_W = Σ hᵀ d_a                           over all steps and rows of the batch
    d_b = Σ d_m                              likewise
    d_x = [d_az, d_ar, d_xg]                 added to the row of the table that the step has read
"""

from __future__ import annotations

from typing import Any, NamedTuple

from textgen_keras.kernels.arrays import Array, check_index, clear, empty, scratch, sum_of, zeros
from textgen_keras.kernels.jit import compiled, compiled_in_place
from textgen_keras.kernels.layers import goes_past_cache, table_gradients, with_first
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


class _Layer(NamedTuple):
    """The input and the weights."""

    table: Array  #: [N, 3 * U]
    table_rows: Array  #: the row of the table that each step reads, [batch, time]
    kernel: Array  #: [U, 3 * U]
    panels: Array  #: of the kernel, or of its transpose in a backward pass; none if each core packs its own


class _Kept(NamedTuple):
    """The results of the forward pass, which the backward pass reads."""

    states: Array  #: h before the first step and after each, [time + 1, batch, U]
    gates: Array  #: z, r, m, [time, batch, 3 * U]
    candidates: Array  #: g, [time, batch, U]


class _Gradients(NamedTuple):
    """The results of the backward pass: the state is shared by all cores, the others are sums of one."""

    state: Array  #: d_h before the first step, [batch, U]
    table: Array  #: [N, 3 * U], cleared
    kernel: Array  #: [U, padded(3 * U)]
    bias: Array  #: [U], cleared


def forward(table: Array, index: Array, state: Array, kernel: Array, bias: Array) -> tuple[Array, Array, Array]:
    """Run a layer.

    Args:
        table: ``[N, 3 * U]``, the values of x; see :mod:`textgen_keras.kernels.layers`.
        index: ``[batch, time]`` int32, below N.
        state: ``[batch, U]``, h before the first step.
        kernel: ``[U, 3 * U]``, W.
        bias: ``[U]``, b.

    Returns:
        ``states``, ``[time + 1, batch, U]``, h before the first step and after each; and for :func:`backward`
        ``gates``, ``[time, batch, 3 * U]``, and ``candidates``, ``[time, batch, U]``.

    Raises:
        ValueError: if a number of the index is not below N.
    """
    check_index(index, len(table))
    batch, time = index.shape
    kept = _Kept(
        states=with_first(state, time),
        gates=empty((time, batch, table.shape[1]), table.dtype),
        candidates=empty((time, *state.shape), table.dtype),
    )
    layer = _Layer(table=table, table_rows=index, kernel=kernel, panels=shared_panels(kernel))
    on_all_cores(_forward, shares(batch, ROWS), (layer, bias, kept, goes_past_cache(*kept)))
    return kept.states, kept.gates, kept.candidates


def backward(
    upstream: Array, table: Array, index: Array, kernel: Array, states: Array, gates: Array, candidates: Array
) -> tuple[Array, Array, Array, Array]:
    """Compute the gradients of a layer.

    Args:
        upstream: ``[time, batch, U]``, the gradient by h after each step.
        table: as :func:`forward` has read it, like ``index`` and ``kernel``.
        index: likewise.
        kernel: likewise.
        states: as :func:`forward` has returned it, like ``gates`` and ``candidates``.
        gates: likewise.
        candidates: likewise.

    Returns:
        The gradients by ``table``, ``state``, ``kernel`` and ``bias``.
    """
    rows = shares(len(index), ROWS)
    layer = _Layer(table=table, table_rows=index, kernel=kernel, panels=shared_panels(kernel, transposed=True))
    kept = _Kept(states=states, gates=gates, candidates=candidates)
    d_state = empty(states.shape[1:], states.dtype)
    gradients = [
        _Gradients(state=d_state, table=d_table, kernel=sums_for(kernel), bias=zeros(states.shape[2:], states.dtype))
        for d_table in table_gradients(table, index, rows)
    ]
    on_all_cores(_backward, rows, (upstream, layer, kept), gradients)
    d_kernel = sums_from([part.kernel for part in gradients], kernel)
    return sum_of([part.table for part in gradients]), d_state, d_kernel, sum_of([part.bias for part in gradients])


def _step(az: Vector, ar: Vector, m: Vector, xg: Vector, h: Vector) -> tuple[Vector, ...]:
    z, r = sigmoid(az), sigmoid(ar)
    g = tanh(xg + r * m)
    h = g + z * (h - g)
    return z, r, m, g, h, h


# The first five results are kept for the backward pass; the last one, h again, is what the next step reads.
_step_in_cache, _step_past_cache = over_rows(_step), over_rows(_step, past_cache=5)


@over_rows
def _step_back(
    d_h: Vector, upstream: Vector, z: Vector, r: Vector, m: Vector, g: Vector, h: Vector, d_b: Vector
) -> tuple[Vector, ...]:
    d_h = d_h + upstream
    d_g = d_h * (1 - z)
    d_xg = d_g * (1 - g * g)
    d_az, d_ar, d_m = (h - g) * d_g * z, d_xg * m * (r - r * r), d_xg * r
    return d_az, d_ar, d_xg, d_az, d_ar, d_m, d_h * z, d_b + d_m


@compiled_in_place
def _three_rows(flat: Any, begin: int, units: int) -> Any:
    """The rows of three parts, which lie side by side."""
    return (flat, begin), (flat, begin + units), (flat, begin + 2 * units)


@compiled
def _forward(begin: int, end: int, layer: _Layer, bias: Array, kept: _Kept, past_cache: bool) -> None:
    """Run the rows from ``begin`` to ``end`` of the batch through all steps."""
    time, batch, width = kept.gates.shape
    units = kept.states.shape[2]
    table_rows = layer.table_rows
    panels = layer.panels if len(layer.panels) else pack(layer.kernel)
    rows, stride = end - begin, padded(width)
    flat_a, flat_h = scratch(rows * stride, layer.kernel), scratch(rows * units, layer.kernel)
    a, h = flat_a.reshape((rows, stride)), flat_h.reshape((rows, units))
    flat_table, flat_gates = layer.table.reshape(-1), kept.gates.reshape(-1)
    flat_states, flat_candidates = kept.states.reshape(-1), kept.candidates.reshape(-1)
    clear(flat_a)
    copy(((flat_states, begin * units),), ((flat_h, 0),), rows * units)
    for t in range(time):
        for row in range(rows):  # a = [xz, xr, b]
            x = (flat_table, table_rows[begin + row, t] * width)
            copy((x,), ((flat_a, row * stride),), 2 * units)
            copy(((bias, 0),), ((flat_a, row * stride + 2 * units),), units)
        add_product(a, h, panels)  # a += h W
        for row in range(rows):
            now = t * batch + begin + row
            after = now + batch
            next_h, xg = (flat_h, row * units), (flat_table, table_rows[begin + row, t] * width + 2 * units)
            read = (*_three_rows(flat_a, row * stride, units), xg, next_h)
            g, kept_h = (flat_candidates, now * units), (flat_states, after * units)
            write = (*_three_rows(flat_gates, now * width, units), g, kept_h, next_h)
            if past_cache:
                _step_past_cache(read, write, units)
            else:
                _step_in_cache(read, write, units)


@compiled
def _backward(begin: int, end: int, upstream: Array, layer: _Layer, kept: _Kept, gradients: _Gradients) -> None:
    """Compute the gradients of the rows from ``begin`` to ``end`` of the batch.

    The gradient of the kernel, a sum of outer products of h and d_a over all steps, is added up a block of steps at a
    time: enough for products at full speed, and few enough that h and d_a are still in the cache.
    """
    time, batch, width = kept.gates.shape
    units = kept.states.shape[2]
    table_rows = layer.table_rows
    panels = layer.panels if len(layer.panels) else pack_transposed(layer.kernel)
    rows, stride, h_stride = end - begin, padded(units), spread(units)
    block = max(DEPTH // max(rows, 1), 1) * rows
    flat_d_h, flat_h = scratch(rows * stride, layer.kernel), scratch(block * h_stride, layer.kernel)
    flat_d_a, flat_d_x = scratch(block * 3 * units, layer.kernel), scratch(3 * units, layer.kernel)
    d_h, h = flat_d_h.reshape((rows, stride)), flat_h.reshape((block, h_stride))
    d_a = flat_d_a.reshape((block, 3 * units))
    flat_gates, flat_states = kept.gates.reshape(-1), kept.states.reshape(-1)
    flat_candidates, flat_upstream = kept.candidates.reshape(-1), upstream.reshape(-1)
    flat_d_table, flat_d_state = gradients.table.reshape(-1), gradients.state.reshape(-1)
    d_b = (gradients.bias, 0)
    clear(flat_d_h)
    clear(gradients.kernel)
    done = 0  # rows of the current block
    for t in range(time - 1, -1, -1):
        first = done
        for row in range(begin, end):
            now = t * batch + row
            d_h_row, h_row = (flat_d_h, (row - begin) * stride), (flat_states, now * units)
            z_r_m, g = _three_rows(flat_gates, now * width, units), (flat_candidates, now * units)
            read = (d_h_row, (flat_upstream, now * units), *z_r_m, g, h_row, d_b)
            d_x_parts, d_a_parts = _three_rows(flat_d_x, 0, units), _three_rows(flat_d_a, done * width, units)
            write = (*d_x_parts, *d_a_parts, d_h_row, d_b)
            _step_back(read, write, units)  # leaves d_h' * z in d_h
            d_table = (flat_d_table, table_rows[row, t] * width)
            add(((flat_d_x, 0), d_table), (d_table,), width)
            copy((h_row,), ((flat_h, done * h_stride),), units)
            done += 1
        add_product(d_h, d_a[first:done], panels)  # d_h += d_a Wᵀ
        if done == block or t == 0:
            add_outer_products(gradients.kernel, h[:done], d_a[:done])
            done = 0
    for row in range(begin, end):
        copy(((flat_d_h, (row - begin) * stride),), ((flat_d_state, row * units),), units)
