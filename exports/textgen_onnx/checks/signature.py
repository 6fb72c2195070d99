"""Sessions of ONNX Runtime: providers that really work, errors in one line. Importing this imports onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textgen.errors import ArtifactError

#: Element type and shape of an input or output; ``None`` stands for a dynamic dimension.
Tensor = tuple[str, tuple[int | None, ...]]


def check_signature(session: Any, name: str, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> None:
    """Check that a graph takes exactly some inputs, and gives at least some outputs.

    Raises:
        ArtifactError: where it does not; names the first that differs.
    """
    takes, gives = _signature(session.get_inputs()), _signature(session.get_outputs())
    for wanted, found, what in ((inputs, takes, "input"), (outputs, gives, "output")):
        for tensor, (kind, shape) in wanted.items():
            if found.get(tensor) != (kind, shape):
                sizes = ", ".join("?" if size is None else str(size) for size in shape)
                raise ArtifactError(
                    f"{name} is no graph of this model: its {what} {tensor} is not {kind} [{sizes}]; export again"
                )
    if extra := takes.keys() - inputs.keys():
        raise ArtifactError(f"{name} is no graph of this model: it has the input {min(extra)}; export again")


def _signature(values: Sequence[Any]) -> dict[str, Tensor]:
    names = {"tensor(float)": "float32", "tensor(double)": "float64"}
    return {
        value.name: (
            names.get(value.type) or value.type.removeprefix("tensor(").removesuffix(")"),
            tuple(size if isinstance(size, int) else None for size in value.shape),
        )
        for value in values
    }
