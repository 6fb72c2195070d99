"""The runtime ``template-name``."""

from collections.abc import Callable
from typing import Self

import numpy as np
from numpy.typing import NDArray

from textgen import Artifact, Check, Ids, Model, Runtime, State
from textgen.errors import UnavailableError

#: The number of rows to read at a time.
ROWS = 16


class TemplateNameRuntime(Runtime):
    """Runs a model by its own forward pass, a few rows at a time, which limits the memory for a large batch.

    Args:
        model: the model, with weights.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.vocab_size = model.vocab_size
        self.state_spec = model.state_spec

    @classmethod
    def open(cls, artifact: Artifact, make_model: Callable[[], Model], device: str = "auto") -> Self:
        if device not in ("auto", "cpu"):
            raise UnavailableError(f"the runtime template-name does not support --device {device}; use cpu")
        model = make_model()
        model.load_weights(artifact.weights())
        return cls(model)

    @classmethod
    def diagnose(cls) -> list[Check]:
        return [Check(f"template-name on the CPU, {ROWS} rows at a time", "works")]

    def forward(self, ids: Ids, state: State, lengths: Ids | None = None) -> tuple[NDArray[np.float32], State]:
        logits, states = [], []
        for rows in np.split(np.arange(len(ids)), range(ROWS, len(ids), ROWS)):
            of_rows = None if lengths is None else lengths[rows]
            found, after = self.model.forward(ids[rows], state.select(rows), of_rows)
            logits.append(found)
            states.append(after)
        return np.concatenate(logits), State.concat(states)
