"""The dense head with softmax and cross-entropy, and all of their gradients, as machine code.

Logits and what is made of them stay in a core's cache, some rows at a time.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from textgen_keras.cores import on_all_cores, shares
from textgen_keras.formulas import Vector, add, copy, exp, over_rows
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
    sum_of,
    sums_for,
    sums_from,
    zeros,
)

Array = NDArray[Any]


def cross_entropy(
    hidden: Array, kernel: Array, bias: Array, targets: Array, weights: Array
) -> tuple[Array, Array, Array, Array]:
    """The weighted sum of the cross-entropy of targets with the softmax of ``hidden @ kernel + bias``, in nats.

    Args:
        hidden: ``[time, batch, U]``; like all but the targets float32 or float64.
        kernel: ``[U, V]``.
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
    shared = (pack(kernel), pack(kernel.T), bias, *by_row, *of_row)
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


@numba.njit(error_model="numpy", fastmath={"reassoc", "nsz"})  # type: ignore[untyped-decorator]
def _sum(values: Any) -> Any:
    """In whatever order is fast."""
    total = values.dtype.type(0)
    for n in range(len(values)):
        total += values[n]
    return total


@compiled_part
def _largest(values: Any) -> Any:
    """Of those that are numbers; four at a time, each of which need not wait for the others."""
    one = two = three = four = values[0]
    whole = len(values) - len(values) % 4
    for n in range(0, whole, 4):
        one = values[n] if values[n] > one else one
        two = values[n + 1] if values[n + 1] > two else two
        three = values[n + 2] if values[n + 2] > three else three
        four = values[n + 3] if values[n + 3] > four else four
    for n in range(whole, len(values)):
        one = values[n] if values[n] > one else one
    one, three = two if two > one else one, four if four > three else three
    return three if three > one else one


@compiled
def _cross_entropy(
    begin: int,
    end: int,
    panels: Any,
    panels_back: Any,
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
    all_logits = np.zeros((DEPTH, len(panels) * COLUMNS), hidden.dtype)
    all_slopes = np.zeros((DEPTH, vocab), hidden.dtype)
    all_back = np.zeros((DEPTH, len(panels_back) * COLUMNS), hidden.dtype)
    nats = 0.0
    for first in range(begin, end, DEPTH):
        last = min(first + DEPTH, end)
        rows = last - first
        logits, slopes, back = all_logits[:rows], all_slopes[:rows], all_back[:rows]
        for row in range(rows):
            copy((bias,), (logits[row, :vocab],), ())
        add_product(logits, hidden[first:last], panels)
        for row in range(rows):
            of_row, slope = logits[row, :vocab], slopes[row]
            target, weight = targets[first + row], weights[first + row]
            top = _largest(of_row)
            _power((of_row,), (slope,), (top,))
            powers = _sum(slope)
            _scaled((slope,), (slope,), (weight / powers,))
            slope[target] -= weight
            nats += weight * (math.log(powers) + (top - of_row[target]))
            add((slope, d_bias), (d_bias,), ())
        clear(back)
        add_product(back, slopes, panels_back)
        for row in range(rows):
            copy((back[row, :units],), (d_hidden[first + row],), ())
        add_outer_products(d_kernel, hidden[first:last], slopes)
    total[0] = nats
