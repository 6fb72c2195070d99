"""Checks of what the runtimes and models of third parties return; the bundled ones need none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from textgen.base.values import dtype_and_shape
from textgen.errors import ArtifactError, PluginError, fault_of
from textgen.generation.runtime import Block, Ids, ModelRuntime, Runtime
from textgen.model.state import State
from textgen.sampling.draw import Draw

if TYPE_CHECKING:
    from textgen.model.model import Model
    from textgen.plugins.registry import Registry
    from textgen.runs.artifact import Artifact


def checked(runtime: Runtime, name: str, model: str, registry: Registry) -> Runtime:
    """A runtime whose results are checked, if it or the model that it runs is a third party's.

    Args:
        runtime: the loaded runtime.
        name: its registered name.
        model: the registered name of the model.
        registry: where names are looked up.
    """
    owner = registry.outsider("runtime", name)
    if owner is None and isinstance(runtime, ModelRuntime):
        owner = registry.outsider("model", model)
    return runtime if owner is None else CheckedRuntime(runtime, owner)


class CheckedRuntime(Runtime):
    """A runtime whose results are checked at each call, in a pass over the logits.

    Args:
        runtime: the runtime to check.
        owner: the plugin that it, or its model, comes from, as errors name it.

    Raises:
        PluginError: from each method, if what the runtime returns cannot be used.
    """

    def __init__(self, runtime: Runtime, owner: str) -> None:
        self._runtime = runtime
        self._owner = owner
        self.vocab_size = runtime.vocab_size
        self.state_spec = runtime.state_spec
        self.device = runtime.device

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    @classmethod
    def open(cls, artifact: Artifact, make_model: Callable[[], Model], device: str = "auto") -> Self:
        raise NotImplementedError("a checked runtime is made of an open one")

    def preferred_steps(self, *, endless: bool, stream: bool) -> int | None:
        return self._runtime.preferred_steps(endless=endless, stream=stream)

    def initial_state(self, batch: int) -> State:
        return self._checked_state(self._runtime.initial_state(batch), batch)

    def forward(self, ids: Ids, state: State, lengths: Ids | None = None) -> tuple[NDArray[np.float32], State]:
        logits, after = self._pair(self._runtime.forward(ids, state, lengths))
        counts = None if lengths is None else np.arange(ids.shape[1]) < lengths[:, None]
        self._check_logits(logits, (*ids.shape, self.vocab_size), counts)
        return logits, self._checked_state(after, len(ids))

    def prefill(self, ids: Ids, state: State, lengths: Ids | None = None) -> State:
        return self._checked_state(self._runtime.prefill(ids, state, lengths), len(ids))

    def step(self, ids: Ids, state: State) -> tuple[NDArray[np.float32], State]:
        logits, after = self._pair(self._runtime.step(ids, state))
        self._check_logits(logits, (len(ids), self.vocab_size))
        return logits, self._checked_state(after, len(ids))

    def generate(self, ids: Ids, state: State, draw: Draw, uniforms: NDArray[np.float32]) -> Block:
        if type(self._runtime).generate is Runtime.generate:
            return super().generate(ids, state, draw, uniforms)  # step by step, each of them checked
        block = self._runtime.generate(ids, state, draw, uniforms)
        if not isinstance(block, Block):
            raise self._error(f"wrote {type(block).__name__} instead of a Block")
        written = draw.checked_ids(block.ids, uniforms.shape, self._owner)
        return Block(written, self._checked_state(block.state, len(ids)))

    def _pair(self, result: Any) -> tuple[Any, Any]:
        if not isinstance(result, tuple) or len(result) != 2:
            raise self._error(f"returned {type(result).__name__} instead of logits and a state")
        return result

    def _check_logits(self, logits: Any, shape: tuple[int, ...], counts: NDArray[np.bool_] | None = None) -> None:
        """Checks logits; where ``counts`` is false is padding, where they mean nothing."""
        if not isinstance(logits, np.ndarray) or (logits.shape, logits.dtype) != (shape, np.float32):
            raise self._error(f"returned the logits {dtype_and_shape(logits)} instead of float32 {shape}")
        finite = np.isfinite(logits.max(axis=-1))  # not if one is NaN or +inf, or all are -inf
        if not (finite if counts is None else finite | ~counts).all():
            raise self._error("returned logits that are not finite")

    def _checked_state(self, state: Any, batch: int) -> State:
        if not isinstance(state, State):
            raise self._error(f"returned {type(state).__name__} instead of a State")
        try:
            self.state_spec.check(state)
        except ArtifactError as error:
            raise self._error(f"returned a wrong state: {error}") from None
        if self.state_spec.tensors and state.batch != batch:
            raise self._error(f"returned the state of {state.batch} rows instead of {batch}")
        return state

    def _error(self, fault: str) -> PluginError:
        return fault_of(self._owner, fault)
