"""A check of named tensors against the shapes that a model expects."""

from __future__ import annotations

from collections.abc import Mapping

from textgen import Tensors
from textgen.errors import ArtifactError


def check_shapes(what: str, tensors: Tensors, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Check that tensors have the expected names and shapes.

    Args:
        what: the origin of the tensors, which begins the message: ``"the weights"``.
        tensors: by name.
        expected: shapes by name.

    Raises:
        ArtifactError: if a tensor is missing, is not expected or has another shape; the message names the first.
    """
    for name in sorted(tensors.keys() | expected.keys()):
        if name not in tensors:
            raise ArtifactError(f"{what} do not fit the model's options: tensor {name} is missing")
        if name not in expected:
            raise ArtifactError(f"{what} do not fit the model's options: tensor {name} is not expected")
        if tensors[name].shape != expected[name]:
            raise ArtifactError(
                f"{what} do not fit the model's options: tensor {name} has shape {list(tensors[name].shape)}, "
                f"expected {list(expected[name])}"
            )
