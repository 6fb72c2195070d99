"""The runtime ``keras``: runs a model in the library that trained it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from textgen import Check, Ids, Model, ModelRuntime, State, distribution_version
from textgen_keras.devices import placed_on, resolve_device
from textgen_keras.libraries import require_tensorflow

if TYPE_CHECKING:
    from textgen import Artifact


class KerasRuntime(ModelRuntime):
    """Runs a model's own forward pass on one of TensorFlow's devices.

    Args:
        model: with weights.
        device: as in :func:`textgen_keras.devices.resolve_device`.

    Raises:
        UnavailableError: if TensorFlow or the device is missing.
    """

    def __init__(self, model: Model, device: str = "cpu") -> None:
        super().__init__(model)
        require_tensorflow()
        self.device = resolve_device(device)

    @classmethod
    def open(cls, artifact: Artifact, make_model: Callable[[], Model], device: str = "auto") -> Self:
        runtime = cls(make_model(), device)
        with placed_on(runtime.device):
            runtime.model.load_weights(artifact.weights())
        return runtime

    @classmethod
    def diagnose(cls) -> list[Check]:
        remedy = 'pip install "textgen-rnn[train]"'
        versions = {name: distribution_version(name) for name in ("tensorflow", "keras", "numba")}
        if "unknown" in (versions["tensorflow"], versions["keras"]):
            return [Check("TensorFlow, for training", "absent", remedy)]
        installed = ", ".join(f"{name} {version}" for name, version in versions.items() if version != "unknown")
        missing = [Check("Numba, for training", "absent", remedy)] if versions["numba"] == "unknown" else []
        return [Check(installed, "works"), *missing]

    def forward(self, ids: Ids, state: State, lengths: Ids | None = None) -> tuple[NDArray[np.float32], State]:
        with placed_on(self.device):
            return super().forward(ids, state, lengths)
