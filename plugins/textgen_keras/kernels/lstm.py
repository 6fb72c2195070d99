"""Long short-term memory over whole sequences, and its gradients.

Hochreiter & Schmidhuber 1997, with the forget gates of Gers et al. 2000. A step takes h and c, each ``[U]``, to h' and
c'. With W the recurrent kernel ``[U, 4 * U]``, x the input's row of the table ``[4 * U]``, σ the sigmoid, and ``*``
element by element::

    [ai, af, ag, ao] = x + h W
    i = σ(ai)    f = σ(af)    g = tanh(ag)    o = σ(ao)
    c' = f * c + i * g
    h' = o * tanh(c')

The gates are input, forget, candidate and output: Keras's order.

The backward pass runs from the last step to the first. Let ``d_y`` be the derivative of the loss by y. A step is given
``upstream``, the part of d_h' that comes from the layer above, and d_h' and d_c', the parts that come from the step
after it (0 for the last one). By the chain rule, with t = tanh(c'), tanh' = 1 - tanh² and σ' = σ - σ²::

    d_h' += upstream
    d_c' += d_h' * o * (1 - t²)              since h' = o * tanh(c')
    d_ai = d_c' * g * (i - i²)               since c' = f * c + i * g
    d_af = d_c' * c * (f - f²)
    d_ag = d_c' * i * (1 - g²)
    d_ao = d_h' * t * (o - o²)               since h' = o * t
    d_c  = d_c' * f                          for the step before

    d_a = [d_ai, d_af, d_ag, d_ao]
    d_h = d_a Wᵀ                             for the step before
    d_W = Σ hᵀ d_a                           over all steps and rows of the batch
    d_x = d_a                                added to the row of the table that the step has read
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

    table: Array  #: [N, 4 * U]
    table_rows: Array  #: the row of the table that each step reads, [batch, time]
    kernel: Array  #: [U, 4 * U]
    panels: Array  #: of the kernel, or of its transpose in a backward pass; none if each core packs its own


class _Kept(NamedTuple):
    """The results of the forward pass, which the backward pass reads."""

    states: Array  #: h before the first step and after each, [time + 1, batch, U]
    cells: Array  #: c, likewise
    gates: Array  #: i, f, g, o, [time, batch, 4 * U]


class _Gradients(NamedTuple):
    """The results of the backward pass: state and cell are shared by all cores, table and kernel are sums of one."""

    state: Array  #: d_h before the first step, [batch, U]
    cell: Array  #: d_c before the first step, [batch, U]; until then, that of the step before the current one
    table: Array  #: [N, 4 * U], cleared
    kernel: Array  #: [U, padded(4 * U)]


def forward(table: Array, index: Array, state: Array, cell: Array, kernel: Array) -> tuple[Array, Array, Array]:
    """Run a layer.

    Args:
        table: ``[N, 4 * U]``, the values of x; see :mod:`textgen_keras.kernels.layers`.
        index: ``[batch, time]`` int32, below N.
        state: ``[batch, U]``, h before the first step.
        cell: ``[batch, U]``, c before the first step.
        kernel: ``[U, 4 * U]``, W.

    Returns:
        ``states`` and ``cells``, each ``[time + 1, batch, U]``, h and c before the first step and after each; and
        ``gates``, ``[time, batch, 4 * U]``, for :func:`backward`.

    Raises:
        ValueError: if a number of the index is not below N.
    """
    check_index(index, len(table))
    batch, time = index.shape
    kept = _Kept(
        states=with_first(state, time),
        cells=with_first(cell, time),
        gates=empty((time, batch, table.shape[1]), table.dtype),
    )
    layer = _Layer(table=table, table_rows=index, kernel=kernel, panels=shared_panels(kernel))
    on_all_cores(_forward, shares(batch, ROWS), (layer, kept, goes_past_cache(*kept)))
    return kept.states, kept.cells, kept.gates


def backward(
    upstream: Array, table: Array, index: Array, kernel: Array, states: Array, cells: Array, gates: Array
) -> tuple[Array, Array, Array, Array]:
    """Compute the gradients of a layer.

    Args:
        upstream: ``[time, batch, U]``, the gradient by h after each step.
        table: as :func:`forward` has read it, like ``index`` and ``kernel``.
        index: likewise.
        kernel: likewise.
        states: as :func:`forward` has returned it, like ``cells`` and ``gates``.
        cells: likewise.
        gates: likewise.

    Returns:
        The gradients by ``table``, ``state``, ``cell`` and ``kernel``.
    """
    rows = shares(len(index), ROWS)
    layer = _Layer(table=table, table_rows=index, kernel=kernel, panels=shared_panels(kernel, transposed=True))
    kept = _Kept(states=states, cells=cells, gates=gates)
    d_state, d_cell = empty(states.shape[1:], states.dtype), zeros(states.shape[1:], states.dtype)
    gradients = [
        _Gradients(state=d_state, cell=d_cell, table=d_table, kernel=sums_for(kernel))
        for d_table in table_gradients(table, index, rows)
    ]
    on_all_cores(_backward, rows, (upstream, layer, kept), gradients)
    d_kernel = sums_from([part.kernel for part in gradients], kernel)
    return sum_of([part.table for part in gradients]), d_state, d_cell, d_kernel


def _step(ai: Vector, af: Vector, ag: Vector, ao: Vector, c: Vector) -> tuple[Vector, ...]:
    i, f, o, g = sigmoid(ai), sigmoid(af), sigmoid(ao), tanh(ag)
    c = f * c + i * g
    h = o * tanh(c)
    return i, f, g, o, c, h, c, h


# The first six results are kept for the backward pass; the last two, c and h again, are what the next step reads.
_step_in_cache, _step_past_cache = over_rows(_step), over_rows(_step, past_cache=6)


@over_rows
def _step_back(
    d_h: Vector, upstream: Vector, d_c: Vector, i: Vector, f: Vector, g: Vector, o: Vector, c: Vector, c_after: Vector
) -> tuple[Vector, ...]:
    d_h, t = d_h + upstream, tanh(c_after)
    d_c = d_c + d_h * o * (1 - t * t)
    return d_c * g * (i - i * i), d_c * c * (f - f * f), d_c * i * (1 - g * g), d_h * t * (o - o * o), d_c * f


@compiled_in_place
def _four_rows(flat: Any, begin: int, units: int) -> Any:
    """The rows of the four gates, which lie side by side."""
    return (flat, begin), (flat, begin + units), (flat, begin + 2 * units), (flat, begin + 3 * units)


@compiled
def _forward(begin: int, end: int, layer: _Layer, kept: _Kept, past_cache: bool) -> None:
    """Run the rows from ``begin`` to ``end`` of the batch through all steps."""
    time, batch, width = kept.gates.shape
    units = kept.states.shape[2]
    table_rows = layer.table_rows
    panels = layer.panels if len(layer.panels) else pack(layer.kernel)
    rows, stride = end - begin, padded(width)
    flat_a = scratch(rows * stride, layer.kernel)
    flat_h, flat_c = scratch(rows * units, layer.kernel), scratch(rows * units, layer.kernel)
    a, h = flat_a.reshape((rows, stride)), flat_h.reshape((rows, units))
    flat_table, flat_gates = layer.table.reshape(-1), kept.gates.reshape(-1)
    flat_states, flat_cells = kept.states.reshape(-1), kept.cells.reshape(-1)
    clear(flat_a)
    copy(((flat_states, begin * units),), ((flat_h, 0),), rows * units)
    copy(((flat_cells, begin * units),), ((flat_c, 0),), rows * units)
    for t in range(time):
        for row in range(rows):  # a = x
            x = (flat_table, table_rows[begin + row, t] * width)
            copy((x,), ((flat_a, row * stride),), width)
        add_product(a, h, panels)  # a += h W
        for row in range(rows):
            now = t * batch + begin + row
            after = now + batch
            next_c, next_h = (flat_c, row * units), (flat_h, row * units)
            read = (*_four_rows(flat_a, row * stride, units), next_c)
            kept_c, kept_h = (flat_cells, after * units), (flat_states, after * units)
            write = (*_four_rows(flat_gates, now * width, units), kept_c, kept_h, next_c, next_h)
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
    flat_d_a = scratch(block * 4 * units, layer.kernel)
    d_h, h = flat_d_h.reshape((rows, stride)), flat_h.reshape((block, h_stride))
    d_a = flat_d_a.reshape((block, 4 * units))
    flat_gates, flat_cells, flat_states = kept.gates.reshape(-1), kept.cells.reshape(-1), kept.states.reshape(-1)
    flat_upstream, flat_d_table = upstream.reshape(-1), gradients.table.reshape(-1)
    flat_d_state, flat_d_cell = gradients.state.reshape(-1), gradients.cell.reshape(-1)
    clear(flat_d_h)
    clear(gradients.kernel)
    done = 0  # rows of the current block
    for t in range(time - 1, -1, -1):
        first = done
        for row in range(begin, end):
            now = t * batch + row
            after = now + batch
            d_h_row, d_c = (flat_d_h, (row - begin) * stride), (flat_d_cell, row * units)
            c, c_after = (flat_cells, now * units), (flat_cells, after * units)
            i_f_g_o = _four_rows(flat_gates, now * width, units)
            read = (d_h_row, (flat_upstream, now * units), d_c, *i_f_g_o, c, c_after)
            write = (*_four_rows(flat_d_a, done * width, units), d_c)
            _step_back(read, write, units)
            d_x = (flat_d_table, table_rows[row, t] * width)
            add(((flat_d_a, done * width), d_x), (d_x,), width)
            copy(((flat_states, now * units),), ((flat_h, done * h_stride),), units)
            done += 1
        clear(flat_d_h)
        add_product(d_h, d_a[first:done], panels)  # d_h = d_a Wᵀ
        if done == block or t == 0:
            add_outer_products(gradients.kernel, h[:done], d_a[:done])
            done = 0
    for row in range(begin, end):
        copy(((flat_d_h, (row - begin) * stride),), ((flat_d_state, row * units),), units)
