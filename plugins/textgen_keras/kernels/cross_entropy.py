"""The dense head with softmax and cross-entropy, and all of their gradients, in one pass.

With h a row of hidden values ``[U]``, W the kernel ``[U, V]``, b the bias ``[V]``, k the target and w the weight of the
row::

    y = h W + b                              the logits
    p = exp(y) / Σ exp(y)                    the softmax, over V
    loss = w * (log Σ exp(y) - y[k])         which is -w * log p[k]

Let ``d_y`` be the derivative of the loss by y. Since the derivative of log Σ exp(y) is p::

    d_y = w * (p - 1 at k, 0 elsewhere)
    d_h = d_y Wᵀ
    d_W = Σ hᵀ d_y                           over all rows
    d_b = Σ d_y                              likewise

The largest logit is subtracted from all before exp, which changes neither p nor the loss, so that nothing overflows.
The rows are read in blocks, whose logits never leave the core's cache.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from textgen_keras.kernels.arrays import Array, check_index, clear, empty, scratch, sum_of, zeros
from textgen_keras.kernels.jit import compiled
from textgen_keras.kernels.matmul import DEPTH, ROWS, add_outer_products, add_product, padded, sums_for, sums_from
from textgen_keras.kernels.packing import pack, pack_transposed, shared_panels
from textgen_keras.kernels.threads import on_all_cores, shares
from textgen_keras.kernels.vectors import Vector, add, copy, exp, folded, larger, over_rows


class _Head(NamedTuple):
    """The weights."""

    kernel: Array  #: [U, V]
    panels: Array  #: of the kernel; none if each core packs its own
    panels_back: Array  #: of the kernel's transpose, likewise
    bias: Array  #: [V]


class _Rows(NamedTuple):
    """The input: R rows, of all steps of all texts."""

    hidden: Array  #: [R, U]
    targets: Array  #: [R]
    weights: Array  #: [R]


class _Results(NamedTuple):
    """The results: ``hidden`` is shared by all cores, the others are sums of one."""

    hidden: Array  #: d_h, [R, U]
    kernel: Array  #: d_W, [U, padded(V)]
    bias: Array  #: d_b, [V], cleared
    loss: Array  #: [1], in nats


def cross_entropy(
    hidden: Array, kernel: Array, bias: Array, targets: Array, weights: Array
) -> tuple[Array, Array, Array, Array]:
    """The weighted sum of the cross-entropy of targets with the softmax of ``hidden @ kernel + bias``, in nats.

    All arrays are contiguous, and all but the targets are float32, or all float64.

    Args:
        hidden: ``[time, batch, U]``.
        kernel: ``[U, V]``.
        bias: ``[V]``.
        targets: ``[batch, time]`` int32, below V.
        weights: ``[batch, time]``.

    Returns:
        The sum, a scalar, and its gradients by ``hidden``, ``kernel`` and ``bias``.

    Raises:
        ValueError: if a target is not below V.
    """
    check_index(targets, len(bias))
    units = hidden.shape[2]
    d_hidden = empty(hidden.shape, hidden.dtype)
    panels, panels_back = shared_panels(kernel), shared_panels(kernel, transposed=True)
    head = _Head(kernel=kernel, panels=panels, panels_back=panels_back, bias=bias)
    rows = _Rows(
        hidden=hidden.reshape(-1, units),
        targets=targets.T.reshape(-1),  # time first, as the hidden values are
        weights=weights.T.reshape(-1),
    )
    parts = shares(targets.size, ROWS)
    results = [
        _Results(
            hidden=d_hidden.reshape(-1, units),
            kernel=sums_for(kernel),
            bias=zeros(bias.shape, bias.dtype),
            loss=zeros((1,), hidden.dtype),
        )
        for _ in parts
    ]
    on_all_cores(_cross_entropy, parts, (head, rows), results)
    loss = sum_of([part.loss for part in results])[0]
    d_kernel = sums_from([part.kernel for part in results], kernel)
    return loss, d_hidden, d_kernel, sum_of([part.bias for part in results])


@over_rows
def _exp_below(y: Vector, largest: Vector) -> tuple[Vector]:
    return (exp(y - largest),)


@over_rows
def _scaled(values: Vector, factor: Vector) -> tuple[Vector]:
    return (values * factor,)


_largest, _sum = folded(larger, -math.inf), folded(Vector.__add__, 0.0)


@compiled
def _cross_entropy(begin: int, end: int, head: _Head, rows: _Rows, results: _Results) -> None:
    """Compute the results of the rows from ``begin`` to ``end``."""
    units, vocab = rows.hidden.shape[1], len(head.bias)
    panels = head.panels if len(head.panels) else pack(head.kernel)
    panels_back = head.panels_back if len(head.panels_back) else pack_transposed(head.kernel)
    stride, stride_back = padded(vocab), padded(units)
    block = min(DEPTH, end - begin)
    flat_y, flat_d_y = scratch(block * stride, head.kernel), scratch(block * vocab, head.kernel)
    flat_d_h = scratch(block * stride_back, head.kernel)
    y, d_y = flat_y.reshape((block, stride)), flat_d_y.reshape((block, vocab))
    d_h = flat_d_h.reshape((block, stride_back))
    flat_d_hidden = results.hidden.reshape(-1)
    clear(y)
    clear(results.kernel)
    loss = 0.0
    for first in range(begin, end, DEPTH):
        last = min(first + DEPTH, end)
        count = last - first
        hidden = rows.hidden[first:last]
        for row in range(count):  # y = b + h W
            copy(((head.bias, 0),), ((flat_y, row * stride),), vocab)
        add_product(y[:count], hidden, panels)
        for row in range(count):
            y_row, d_y_row = (flat_y, row * stride), (flat_d_y, row * vocab)
            target, weight = rows.targets[first + row], rows.weights[first + row]
            largest = _largest(y_row, vocab)
            _exp_below((y_row, largest), (d_y_row,), vocab)
            total = _sum(d_y_row, vocab)
            _scaled((d_y_row, weight / total), (d_y_row,), vocab)
            flat_d_y[row * vocab + target] -= weight
            loss += weight * (math.log(total) + (largest - flat_y[row * stride + target]))
            add((d_y_row, (results.bias, 0)), ((results.bias, 0),), vocab)
        clear(d_h[:count])
        add_product(d_h[:count], d_y[:count], panels_back)
        for row in range(count):
            copy(((flat_d_h, row * stride_back),), ((flat_d_hidden, (first + row) * units),), units)
        add_outer_products(results.kernel, hidden, d_y[:count])
    results.loss[0] = loss
