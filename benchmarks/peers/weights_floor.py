"""The lower bound: no loop over these weights is faster than reading them once per character.

A matrix-vector product does little else. NumPy's BLAS runs it on all cores, contiguous in float32, for the recurrent
kernel and the head of a step, and from the second layer on also for the kernel of the input from the layer below.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.harness import Work, fastest

#: Steps per piece.
STEPS = 100


def make(*, gates: int, units: int, layers: int, vocab_size: int) -> Work:
    """The products alone, in the form that is fastest here; an item is the products of one character.

    Args:
        gates: of the cell, 3 or 4: a kernel is ``[units, gates * units]``.
        units: width of each layer's state.
        layers: number L of recurrent layers; the first layer's input is looked up, so 2 L - 1 kernels are read.
        vocab_size: the head is ``[units, vocab_size]``.
    """
    generator = np.random.default_rng(0)
    state = generator.standard_normal(units, np.float32)
    widths = ((2 * layers - 1) * gates * units, vocab_size)
    kernel, head = (generator.standard_normal((units, width), np.float32) for width in widths)
    joined = np.concatenate([kernel, head], axis=1)
    by_column = np.ascontiguousarray(joined.T)
    kernel_by_column, head_by_column = np.ascontiguousarray(kernel.T), np.ascontiguousarray(head.T)
    forms: dict[str, Callable[[], object]] = {
        "state · [kernel, head]": lambda: state @ joined,
        "[kernel, head]ᵀ · state": lambda: by_column @ state,
        "state · kernel, state · head": lambda: (state @ kernel, state @ head),
        "kernelᵀ · state, headᵀ · state": lambda: (kernel_by_column @ state, head_by_column @ state),
    }
    best = fastest(forms, tries=STEPS)
    product = forms[best]

    def read() -> int:
        for _ in range(STEPS):
            product()
        return STEPS

    return Work(read, f"{joined.nbytes / 1e6:.1f} MB, {best}")
