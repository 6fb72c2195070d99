"""The dense head with softmax and cross-entropy, and all of their gradients, as machine code.

Logits and what is made of them stay in a core's cache, some rows at a time.
"""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray

from textgen_keras.kernels.arrays import check_index, clear, empty, scratch, sum_of, zeros
from textgen_keras.kernels.jit import compiled
from textgen_keras.kernels.matmul import DEPTH, ROWS, add_outer_products, add_product, padded, sums_for, sums_from
from textgen_keras.kernels.packing import pack, pack_transposed, shared_panels
from textgen_keras.kernels.threads import on_all_cores, shares
from textgen_keras.kernels.vectors import Vector, add, copy, exp, folded, larger, over_rows

Array = NDArray[Any]


def cross_entropy(
    hidden: Array, kernel: Array, bias: Array, targets: Array, weights: Array
) -> tuple[Array, Array, Array, Array]:
    """The weighted sum of the cross-entropy of targets with the softmax of ``hidden @ kernel + bias``, in nats.

    Args:
        hidden: ``[time, batch, U]``; like all but the targets float32 or float64.
        kernel: ``[U, V]``, contiguous like all.
        bias: ``[V]``.
        targets: ``[batch, time]`` int32, below V.
        weights: ``[batch, time]``.

    Returns:
        The sum, a scalar, and its gradients by hidden, kernel and bias.

    Raises:
        ValueError: where a target is not below V.
    """
    check_index(targets, len(bias))
    d_hidden = empty(hidden.shape, hidden.dtype)
    by_row = [array.reshape(-1, hidden.shape[2]) for array in (hidden, d_hidden)]
    of_row = [array.T.reshape(-1) for array in (targets, weights)]
    shared = (kernel, shared_panels(kernel), shared_panels(kernel, transposed=True), bias, *by_row, *of_row)
    rows = shares(targets.size, ROWS)
    kernels, biases = [sums_for(kernel) for _ in rows], [zeros(bias.shape, bias.dtype) for _ in rows]
    sums = [zeros((1,), hidden.dtype) for _ in rows]
    on_all_cores(_cross_entropy, rows, shared, kernels, biases, sums)
    return sum_of(sums)[0], d_hidden, sums_from(kernels, kernel), sum_of(biases)


@over_rows
def _power(x: Vector, top: Vector) -> tuple[Vector]:
    return (exp(x - top),)


@over_rows
def _scaled(x: Vector, by: Vector) -> tuple[Vector]:
    return (x * by,)


_largest, _sum = folded(larger, -math.inf), folded(Vector.__add__, 0.0)


@compiled
def _cross_entropy(
    begin: int,
    end: int,
    kernel: Any,
    panels_of_all: Any,
    panels_back_of_all: Any,
    bias: Any,
    hidden: Any,
    d_hidden: Any,
    targets: Any,
    weights: Any,
    d_kernel: Any,
    d_bias: Any,
    total: Any,
) -> None:
    units, vocab = hidden.shape[1], len(bias)
    panels = panels_of_all if len(panels_of_all) else pack(kernel)
    panels_back = panels_back_of_all if len(panels_back_of_all) else pack_transposed(kernel)
    width, width_back = padded(vocab), padded(units)
    block = min(DEPTH, end - begin)
    flat_logits, flat_slopes = scratch(block * width, kernel), scratch(block * vocab, kernel)
    flat_back = scratch(block * width_back, kernel)
    all_logits, all_slopes = flat_logits.reshape((block, width)), flat_slopes.reshape((block, vocab))
    all_back = flat_back.reshape((block, width_back))
    clear(all_logits)
    clear(d_kernel)
    flat_d_hidden = d_hidden.reshape(-1)
    nats = 0.0
    for first in range(begin, end, DEPTH):
        last = min(first + DEPTH, end)
        rows = last - first
        for row in range(rows):
            copy(((bias, 0),), ((flat_logits, row * width),), (), vocab)
        add_product(all_logits[:rows], hidden[first:last], panels)
        for row in range(rows):
            at, to = row * width, row * vocab
            logits, slopes = (flat_logits, at), (flat_slopes, to)
            target, weight = targets[first + row], weights[first + row]
            top = _largest(logits, vocab)
            _power((logits,), (slopes,), (top,), vocab)
            powers = _sum(slopes, vocab)
            _scaled((slopes,), (slopes,), (weight / powers,), vocab)
            flat_slopes[to + target] -= weight
            nats += weight * (math.log(powers) + (top - flat_logits[at + target]))
            add((slopes, (d_bias, 0)), ((d_bias, 0),), (), vocab)
        clear(all_back[:rows])
        add_product(all_back[:rows], all_slopes[:rows], panels_back)
        for row in range(rows):
            copy(((flat_back, row * width_back),), ((flat_d_hidden, (first + row) * units),), (), units)
        add_outer_products(d_kernel, hidden[first:last], all_slopes[:rows])
    total[0] = nats
