"""The Runtime interface: a loaded model that reads ids and writes ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from textgen.errors import ArtifactError, UnavailableError
from textgen.model.state import State, StateSpec

if TYPE_CHECKING:
    from textgen.model.model import Model
    from textgen.runs.artifact import Artifact
    from textgen.sampling.draw import Draw

#: Token ids, int32.
Ids = NDArray[np.int32]

#: Numbers may overflow and underflow, whatever the process has set with ``numpy.seterr``.
quiet = partial(np.errstate, all="ignore")

#: Numbers that reading a piece of a prompt may compute, about (16 MB of float32), and the most ids per row that are
#: read at once: more of them are not faster.
NUMBERS_AT_ONCE, MOST_STEPS = 2**22, 2048

#: Numbers per unit of the state and id read, about: gates, their parts and the outputs of a layer.
NUMBERS_PER_UNIT = 8


@dataclass(frozen=True)
class Block:
    """Some steps of generation.

    Attributes:
        ids: ``[steps, batch]`` int32.
        state: after the last but one id of each row; the last id has not been read yet.
    """

    ids: Ids
    state: State


@dataclass(frozen=True)
class Check:
    """The result of looking for a library or a device on this machine.

    Attributes:
        what: the library or device, with its version if it has one.
        status: ``"works"``, ``"absent"`` (nothing is wrong) or ``"broken"``.
        advice: what to do about it; empty if nothing needs to be done.
    """

    what: str
    status: Literal["works", "absent", "broken"]
    advice: str = ""


class Runtime(ABC):
    """A model with its weights, ready to run.

    Everything is a pure function of ids and state: running ``a + b`` equals running ``a``, then ``b`` from the state
    that ``a`` left. A row's result does not depend on the rows beside it.
    """

    #: ``--runtime auto`` tries the runtimes that have a priority above 0, the highest first, until one opens the run;
    #: the model's native runtime is the last resort. The bundled ones have 20 (``onnx``) and 10 (``numpy``).
    priority: ClassVar[int] = 0
    #: Whether the runtime runs a run's own weights, so that exports of the run can be compared with it. A runtime that
    #: runs an export says ``False``.
    runs_weights: ClassVar[bool] = True

    #: Ids from 0 to ``vocab_size - 1``.
    vocab_size: int
    #: The tensors of the state.
    state_spec: StateSpec
    #: Where the model runs: ``"cpu"`` or ``"cuda:N"``.
    device: str = "cpu"
    #: The precision of its weights: ``"fp32"``, ``"fp16"`` or ``"int8"``.
    precision: str = "fp32"

    @classmethod
    @abstractmethod
    def open(cls, artifact: Artifact, make_model: Callable[[], Model], device: str = "auto") -> Runtime:
        """Load an artifact.

        Args:
            artifact: the run folder, opened and verified.
            make_model: builds the artifact's model without weights; a runtime that does not need it does not call it.
            device: ``"auto"``, ``"cpu"`` or ``"cuda[:N]"``.

        Raises:
            UnavailableError: if a library or the device is missing; says what to install.
            UnsupportedModelError: if this runtime cannot run this model; says which can.
            ArtifactError: if a file is missing or was altered.
        """

    @classmethod
    def diagnose(cls) -> list[Check]:
        """The lines of ``textgen doctor`` about this runtime; must be quick, and import no training library."""
        return []

    def preferred_steps(self, *, endless: bool, stream: bool) -> int | None:
        """The number of steps that :meth:`generate` writes fastest per call, if it is fast for some numbers only.

        Args:
            endless: whether rows are sure to be written to their full length. Otherwise a row may end at any step, and
                the steps after that are wasted.
            stream: whether someone reads the text while it is written, and waits for each call.

        Returns:
            ``None`` if any number will do. The caller then chooses one, and may let it grow.
        """
        return None

    @abstractmethod
    def forward(self, ids: Ids, state: State, lengths: Ids | None = None) -> tuple[NDArray[np.float32], State]:
        """Read ids and predict the next id at each position.

        Args:
            ids: ``[batch, time]`` int32, rows padded on the right.
            state: before the first id.
            lengths: ``[batch]`` int32, the number of ids of each row that count, from 0 to time; ``None`` for all.

        Returns:
            Logits ``[batch, time, vocab]`` float32 (meaningless at padding), and each row's state after its last id.
        """

    def initial_state(self, batch: int) -> State:
        """The state before the first id."""
        return self.state_spec.initial_state(batch)

    def prefill(self, ids: Ids, state: State, lengths: Ids | None = None) -> State:
        """Read prompts of any lengths, for their state alone; arguments as in :meth:`forward`.

        They are read in :meth:`pieces`, so that memory does not grow with the prompts.
        """
        for piece, counts in self.pieces(ids, lengths):
            state = self.forward(piece, state, counts)[1]
        return state

    def pieces(self, ids: Ids, lengths: Ids | None = None) -> Iterator[tuple[Ids, Ids | None]]:
        """Cut rows into pieces whose logits and activations take at most some 16 MB.

        Args:
            ids: ``[batch, time]`` int32, rows padded on the right.
            lengths: ``[batch]`` int32, the number of ids of each row that count; ``None`` for all.

        Yields:
            Ids ``[batch, piece]``, and the number of ids of each row that count in the piece, ``None`` for all.
        """
        steps = max(1, min(MOST_STEPS, NUMBERS_AT_ONCE // (max(1, len(ids)) * self._numbers_per_id)))
        for start in range(0, ids.shape[1], steps):
            piece = ids[:, start : start + steps]
            yield piece, None if lengths is None else np.clip(lengths - start, 0, piece.shape[1]).astype(np.int32)

    def rows_at_once(self, steps: int) -> int:
        """The number of rows whose logits and activations of so many steps take some 16 MB, at least 1."""
        return max(1, NUMBERS_AT_ONCE // (steps * self._numbers_per_id))

    @property
    def _numbers_per_id(self) -> int:
        return self.vocab_size + NUMBERS_PER_UNIT * sum(prod(tensor.shape) for tensor in self.state_spec.tensors)

    def step(self, ids: Ids, state: State) -> tuple[NDArray[np.float32], State]:
        """Read one id per row: ``[batch]`` int32 → logits ``[batch, vocab]`` float32, and the state after it."""
        logits, state = self.forward(ids[:, None], state)
        return logits[:, 0], state

    def generate(self, ids: Ids, state: State, draw: Draw, uniforms: NDArray[np.float32]) -> Block:
        """Write one id per row and step.

        Args:
            ids: ``[batch]`` int32, the last id of each row, not read yet.
            state: before those ids.
            draw: draws the ids.
            uniforms: ``[steps, batch]`` float32 in [0, 1); their number is the number of steps.
        """
        written = np.empty(uniforms.shape, np.int32)
        for position, row in enumerate(uniforms):
            logits, state = self.step(ids, state)
            ids = written[position] = draw.draw(logits, row)
        return Block(written, state)

    def checked_ids(self, ids: NDArray[np.integer[Any]], draw: Draw) -> Ids:
        """Ids that another program wrote, such as a graph, as int32, after checking them.

        Args:
            ids: of any shape and integer dtype.
            draw: that they were drawn by.

        Raises:
            ArtifactError: if one is not in the vocabulary, or is never to be drawn.
        """
        least, most = ids.min(initial=0), ids.max(initial=0)
        if least < 0 or most >= self.vocab_size:
            wrong = least if least < 0 else most
            raise ArtifactError(
                f"what was loaded does not belong to this model: it writes the id {wrong}, but ids are from 0 to "
                f"{self.vocab_size - 1}; export again"
            )
        if (wrong := draw.first_forbidden(ids)) is not None:
            raise ArtifactError(
                f"what was loaded does not belong to this model: it writes the id {wrong}, which is never drawn; "
                "export again"
            )
        return ids.astype(np.int32)


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
