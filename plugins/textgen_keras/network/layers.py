"""The choice of how a layer trains: by compiled kernels or by TensorFlow's operators, both with their own gradients.

Compiled kernels are the faster ones if a core's cache holds the recurrent kernel. They compute in float32 on a CPU
alone, so larger layers, bfloat16 and GPUs use the loops. The gates are in Keras's order, and a GRU is Keras's with
``reset_after``.

Importing this module imports TensorFlow: see :func:`require_tensorflow`.
"""

from __future__ import annotations

from typing import Any

from textgen import Cell
from textgen_keras.network.compiled import as_table, compiled_gru, compiled_lstm
from textgen_keras.network.lookup import Project, gru_biases
from textgen_keras.network.loops import run_in_loops

#: The largest recurrent kernel, in bytes, for which the compiled kernels are used.
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
    """Run a layer whose weights are laid out as in Keras.

    Args:
        cell: its kind, ``"gru"`` or ``"lstm"``.
        project: computes the input's part of all gates from ``kernel`` and ``bias``.
        state: h and, for an LSTM, c, each ``[batch, U]``.
        recurrent_kernel: ``[U, G * U]``; its dtype is that of the products.
        kernel: ``[I, G * U]``.
        bias: GRU ``[2, 3 * U]``, LSTM ``[4 * U]``.
        on_gpu: whether the values are on a GPU.

    Returns:
        h after each step, ``[time, batch, U]``; and, for each tensor of the state, its values before the first step and
        after each step, ``[time + 1, batch, U]``. No gradient needs to flow through the latter.
    """
    size = recurrent_kernel.shape.num_elements() * recurrent_kernel.dtype.size
    if on_gpu or recurrent_kernel.dtype != kernel.dtype or size > LARGEST_COMPILED:
        return run_in_loops(cell, project, state, recurrent_kernel, kernel, bias, in_halves=not on_gpu)
    if cell == "lstm":
        outputs, *states = compiled_lstm(*as_table(project(kernel, bias)), *state, recurrent_kernel)
    else:
        input_bias, candidate_bias = gru_biases(bias)
        table = as_table(project(kernel, input_bias))
        outputs, *states = compiled_gru(*table, *state, recurrent_kernel, candidate_bias)
    return outputs, states
