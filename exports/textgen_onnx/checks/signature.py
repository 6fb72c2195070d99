"""Checks of a graph before it is used, and of what it returns: inputs and outputs are those of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen import StateSpec
from textgen.errors import ArtifactError

#: Element type and shape of an input or output; ``None`` stands for a dynamic dimension.
Tensor = tuple[str, tuple[int | None, ...]]

#: Inputs whose every dimension is dynamic; of the others only the batch is.
_DYNAMIC = ("ids", "lengths", "last_ids", "uniforms")


def check_signature(
    session: Any, path: Path, spec: StateSpec, vocab_size: int, feeds: Mapping[str, NDArray[Any]]
) -> None:
    """Check that a graph has exactly the inputs, and at least the outputs, that a model needs.

    Args:
        session: of the graph.
        path: of the graph, for errors.
        spec: the model's state.
        vocab_size: the model's.
        feeds: an example of what the graph is run with, besides the state; with ``ids`` it reads text, else it writes.

    Raises:
        ArtifactError: if it has not; names the first that differs.
    """
    state: dict[str, Tensor] = {t.name: (t.dtype, (None, *t.shape)) for t in spec.tensors}
    inputs = {f"past.{name}": tensor for name, tensor in state.items()}
    outputs = {f"present.{name}": tensor for name, tensor in state.items()}
    for name, array in feeds.items():
        shape = [None] * array.ndim if name in _DYNAMIC else [None, *array.shape[1:]]
        inputs[name] = (array.dtype.name, tuple(shape))
    if "ids" in feeds:
        outputs["logits"] = ("float32", (None, None, vocab_size))
    else:
        outputs["ids"] = ("int64", (None, None))
    if "seen" in feeds:
        outputs["present.seen"] = inputs["seen"]

    taken, given = _signature(session.get_inputs()), _signature(session.get_outputs())
    for wanted, found, what in ((inputs, taken, "input"), (outputs, given, "output")):
        for name, (kind, sizes) in wanted.items():
            if found.get(name) != (kind, sizes):
                listed = ", ".join("?" if size is None else str(size) for size in sizes)
                raise ArtifactError(
                    f"{path} does not belong to this model: its {what} {name} is not {kind} [{listed}]; export again"
                )
    if extra := taken.keys() - inputs.keys():
        raise ArtifactError(f"{path} does not belong to this model: it has the input {min(extra)}; export again")


def check_outputs(
    found: Mapping[str, Any],
    folder: Path,
    graph: str,
    spec: StateSpec,
    vocab_size: int,
    feeds: Mapping[str, NDArray[Any]],
) -> None:
    """Check the shapes of what a graph returned; those that it declares do not bind it.

    Args:
        found: its outputs by name, as arrays or ``OrtValue``s.
        folder: of the graph, for errors.
        graph: the name of its file.
        spec: the model's state.
        vocab_size: the model's.
        feeds: what it was run with, besides the state.

    Raises:
        ArtifactError: if a shape is not as it should be.
    """
    rows = feeds["uniforms"].shape if "ids" not in feeds else feeds["ids"].shape
    batch = rows[1] if "ids" not in feeds else rows[0]
    expected: dict[str, tuple[int, ...]] = {
        "logits": (*rows, vocab_size),
        "ids": rows,
        "present.seen": (batch, vocab_size),
    }
    expected |= {f"present.{tensor.name}": (batch, *tensor.shape) for tensor in spec.tensors}
    for name, value in found.items():
        shape = value.shape if isinstance(value, np.ndarray) else value.shape()
        if name in expected and tuple(shape) != expected[name]:
            raise ArtifactError(
                f"{folder / graph} does not belong to this model: its output {name} is {list(shape)} instead of "
                f"{list(expected[name])}; export again"
            )


def _signature(values: Sequence[Any]) -> dict[str, Tensor]:
    names = {"tensor(float)": "float32", "tensor(double)": "float64"}
    return {
        value.name: (
            names.get(value.type) or value.type.removeprefix("tensor(").removesuffix(")"),
            tuple(size if isinstance(size, int) else None for size in value.shape),
        )
        for value in values
    }
