"""The Runtime interface: a loaded model that reads ids and writes ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from textgen.errors import UnavailableError
from textgen.model.state import State, StateSpec

if TYPE_CHECKING:
    from textgen.model.model import Model
    from textgen.runs.artifact import Artifact

Ids = NDArray[np.int32]


class Drawing(Protocol):
    """What a runtime needs of a sampling chain: draw one id a row.

    Attributes:
        seen: ``[batch, vocab]`` bool, or ``None`` where no sampler of the chain uses it; updated by the draw.
    """

    seen: NDArray[np.bool_] | None

    def draw(self, logits: NDArray[np.float32], uniforms: NDArray[np.float32]) -> Ids:
        """Ids ``[batch]`` int32 from logits ``[batch, vocab]`` and uniforms ``[batch]``."""


@dataclass(frozen=True)
class Block:
    """Some steps of generation.

    Attributes:
        ids: ``[steps, batch]`` int32.
        state: after the last but one id: the last id has not been read yet.
    """

    ids: Ids
    state: State


@dataclass(frozen=True)
class Check:
    """What a runtime finds on this machine.

    Attributes:
        what: a library or a device, with its version where it has one.
        status: ``"works"``, ``"absent"`` (nothing is wrong) or ``"broken"``.
        advice: what to do about it; empty where there is nothing to do.
    """

    what: str
    status: Literal["works", "absent", "broken"]
    advice: str = ""


class Runtime(ABC):
    """A model with its weights, ready to run.

    Everything is a pure function of ids and state: running ``a + b`` equals running ``a``, then ``b`` from the state
    that ``a`` left. A row's result does not depend on the rows beside it.
    """

    #: Ids from 0 to ``vocab_size - 1``.
    vocab_size: int
    #: The tensors of the state.
    state_spec: StateSpec
    #: Where the model runs: ``"cpu"`` or ``"cuda:N"``.
    device: str = "cpu"

    @classmethod
    @abstractmethod
    def open(cls, artifact: Artifact, make_model: Callable[[], Model], device: str = "auto") -> Self:
        """Load an artifact.

        Args:
            artifact: the run folder, opened and verified.
            make_model: builds the artifact's model without weights; a runtime that does not need it does not call it.
            device: ``"auto"``, ``"cpu"`` or ``"cuda[:N]"``.

        Raises:
            UnavailableError: where a library or the device is missing; says what to install.
            ArtifactError: where this runtime cannot run this model; says which can.
        """

    @classmethod
    def diagnose(cls) -> list[Check]:
        """What ``textgen doctor`` tells of this runtime; must be quick, and import no training library."""
        return []

    @abstractmethod
    def forward(self, ids: Ids, state: State, lengths: Ids | None = None) -> tuple[NDArray[np.float32], State]:
        """Read ids and predict the next id at each position.

        Args:
            ids: ``[batch, time]`` int32, rows padded on the right.
            state: before the first id.
            lengths: ``[batch]`` int32, from 0 to time, ids that count in each row; ``None`` for all.

        Returns:
            Logits ``[batch, time, vocab]`` float32 (meaningless at padding), and each row's state after its last id.
        """

    def initial_state(self, batch: int) -> State:
        """The state before the first id."""
        return self.state_spec.initial_state(batch)

    def prefill(self, ids: Ids, state: State, lengths: Ids | None = None) -> State:
        """Read prompts of any lengths, for their state alone; arguments as in :meth:`forward`."""
        return self.forward(ids, state, lengths)[1]

    def step(self, ids: Ids, state: State) -> tuple[NDArray[np.float32], State]:
        """Read one id a row: ``[batch]`` int32 → logits ``[batch, vocab]`` float32, and the state after it."""
        logits, state = self.forward(ids[:, None], state)
        return logits[:, 0], state

    def generate(self, ids: Ids, state: State, chain: Drawing, uniforms: NDArray[np.float32]) -> Block:
        """Write as many ids as there are uniforms.

        Args:
            ids: ``[batch]`` int32, the last id of each row, not read yet.
            state: before those ids.
            chain: draws the ids.
            uniforms: ``[steps, batch]`` float32 in [0, 1).
        """
        written = np.empty(uniforms.shape, np.int32)
        for position, row in enumerate(uniforms):
            logits, state = self.step(ids, state)
            ids = written[position] = chain.draw(logits, row)
        return Block(written, state)


class ModelRuntime(Runtime):
    """A model run by its own forward pass, in the library that trained it.

    Args:
        model: with weights.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.vocab_size = model.vocab_size
        self.state_spec = model.state_spec

    @classmethod
    def open(cls, artifact: Artifact, make_model: Callable[[], Model], device: str = "auto") -> Self:
        if device not in ("auto", "cpu"):
            raise UnavailableError(f"this runtime has no support for --device {device}; use cpu")
        model = make_model()
        model.load_weights(artifact.weights())
        return cls(model)

    def forward(self, ids: Ids, state: State, lengths: Ids | None = None) -> tuple[NDArray[np.float32], State]:
        return self.model.forward(ids, state, lengths)
