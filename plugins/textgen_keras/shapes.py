"""Named tensors held against the shapes that a model expects."""

from __future__ import annotations

from collections.abc import Mapping

from textgen import Tensors
from textgen.errors import ArtifactError


def check_shapes(what: str, tensors: Tensors, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise :class:`ArtifactError` for the first tensor that is missing, superfluous or has another shape.

    Args:
        what: where the tensors come from, as the beginning of a sentence: ``"the weights"``.
        tensors: by name.
        expected: shapes by name.
    """
    for name in sorted(tensors.keys() | expected.keys()):
        if name not in tensors:
            raise ArtifactError(f"{what} do not fit the model's options: tensor {name} is missing")
        if name not in expected:
            raise ArtifactError(f"{what} do not fit the model's options: there should be no tensor {name}")
        if tensors[name].shape != expected[name]:
            raise ArtifactError(
                f"{what} do not fit the model's options: tensor {name} has shape {list(tensors[name].shape)}, "
                f"expected {list(expected[name])}"
            )
