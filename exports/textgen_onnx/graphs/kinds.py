"""The names, shapes and dtypes of the weights in the graphs. Importing this module does not import onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from textgen import GATES, Cell, ContextTree
from textgen_onnx.contract import NGram, Precision

#: Shape and dtype of each tensor, by name.
Kinds = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]


def parts_of(cell: Cell, precision: Precision) -> dict[str, int]:
    """See :attr:`textgen_onnx.graphs.weights.GraphWeights.parts`."""
    if cell == "gru" and precision != "int8":
        return {".gates": 2, ".candidate": 1}
    return {"": GATES[cell]}


def kinds_of_ngram(ngram: NGram) -> Kinds:
    """The tensors of :func:`textgen_onnx.graphs.ngram.pack_ngram`."""
    numbers = np.dtype(np.float16 if ngram.is_half else np.float32)
    kinds = {
        "suffixes": ((ngram.contexts,), smallest_dtype(ngram.contexts)),
        "shares": ((ngram.contexts,), numbers),
        "led_from": ((ngram.contexts,), smallest_dtype(ngram.entries + 1)),
        "gaps": ((ngram.entries,), smallest_dtype(ngram.largest_gap + 1)),
        "own": ((ngram.entries,), numbers),
        "power": ((1,), np.dtype(np.float32)),
    }
    return {ContextTree.prefix + name: kind for name, kind in kinds.items()}


def smallest_dtype(numbers: int) -> np.dtype[Any]:
    """The smallest dtype of the whole numbers from 0 to ``numbers - 1``."""
    return np.min_scalar_type(numbers - 1)


def kinds_of_weights(
    cell: Cell | None, units: Sequence[int], vocab_size: int, precision: Precision, ngram: NGram | None = None
) -> Kinds:
    """The tensors of :class:`textgen_onnx.graphs.weights.GraphWeights`; none of them is allocated."""
    single = np.dtype(np.float32)
    kinds: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {} if ngram is None else dict(kinds_of_ngram(ngram))
    if cell is None:
        return kinds

    def add_kernel(name: str, shape: tuple[int, ...]) -> None:
        if precision == "int8":
            kinds[f"{name}.quantized"] = (shape, np.dtype(np.int8))
            kinds[f"{name}.scale"] = (shape[1:], single)
        else:
            kinds[name] = (shape, np.dtype(np.float16) if precision == "fp16" else single)

    for index, width in enumerate(units):
        name = f"layers.{index}"
        for part, gates in parts_of(cell, precision).items():
            columns = gates * width
            add_kernel(f"{name}.recurrent_kernel{part}", (width, columns))
            if cell == "gru" and part != ".gates":
                kinds[f"{name}.recurrent_bias{part}"] = ((columns,), single)
            if index:
                add_kernel(f"{name}.kernel{part}", (units[index - 1], columns))
                kinds[f"{name}.bias{part}"] = ((columns,), single)
            else:
                kinds[f"input_table{part}"] = ((vocab_size, columns), single)
    head = np.dtype(np.float16) if precision == "fp16" else single
    kinds |= {"head.kernel": ((units[-1], vocab_size), head), "head.bias": ((vocab_size,), single)}
    return kinds


def size_of(kinds: Kinds) -> int:
    """The size of tensors in bytes."""
    return sum(prod(shape) * dtype.itemsize for shape, dtype in kinds.values())
