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

from typing import Any

from textgen import Cell
from textgen_keras.network.compiled import as_table, compiled_gru, compiled_lstm
from textgen_keras.network.lookup import Project, gru_biases
from textgen_keras.network.loops import run_in_loops

#: Largest recurrent kernel, in bytes, for :mod:`textgen_keras.kernels.layers`.
LARGEST_COMPILED = 8 * 2**20


def run_layer(
    cell: Cell,
    project: Project,
    state: list[Any],
    recurrent_kernel: Any,
    kernel: Any,
    bias: Any,
    *,
    on_gpu: bool = False,
) -> tuple[Any, list[Any]]:
    """Run a layer with weights as Keras lays them out.

    Args:
        cell: its kind.
        project: the input, as a function of the kernel.
        state: h and, for an LSTM, c, each ``[batch, U]``.
        recurrent_kernel: ``[U, G * U]``; its dtype is that of the products.
        kernel: ``[I, G * U]``.
        bias: GRU ``[2, 3 * U]``, LSTM ``[4 * U]``.
        on_gpu: whether the values are there.

    Returns:
        ``[time, batch, U]``: h after each step; and for each tensor of the state ``[time + 1, batch, U]``, its values
        before the first step and after each; no gradient need flow through these.
    """
    size = recurrent_kernel.shape.num_elements() * recurrent_kernel.dtype.size
    if on_gpu or recurrent_kernel.dtype != kernel.dtype or size > LARGEST_COMPILED:
        return run_in_loops(cell, project, state, recurrent_kernel, kernel, bias, in_halves=not on_gpu)
    if cell == "lstm":
        outputs, *states = compiled_lstm(*as_table(project(kernel, bias)), *state, recurrent_kernel)
    else:
        of_input, of_candidate = gru_biases(bias)
        projected = project(kernel, of_input)
        outputs, *states = compiled_gru(*as_table(projected), *state, recurrent_kernel, of_candidate)
    return outputs, states
