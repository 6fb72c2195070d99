"""A recurrent stack run with NumPy alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from textgen import Check, Ids, ModelRuntime, RecurrentLayer, RecurrentNetwork, Runtime, State
from textgen.errors import UnavailableError, UnsupportedModelError
from textgen_numpy.cells import PARTS, STEPS, Array, Parts

if TYPE_CHECKING:
    from textgen import Artifact, Model

#: Ids per row that are projected at once: it bounds the memory that a long text takes.
_PROJECTED_AT_ONCE = 128


class NumpyRuntime(Runtime):
    """Runs a :class:`textgen.RecurrentNetwork` on the CPU.

    Args:
        network: the stack with its weights.
    """

    priority: ClassVar[int] = 10

    def __init__(self, network: RecurrentNetwork) -> None:
        self.network = network
        self.vocab_size = network.vocab_size
        self.state_spec = network.state_spec
        # The first layer's projection is a look-up; the others' are products.
        self._projections = [network.input_table().__getitem__] + [
            partial(_product, kernel=layer.kernel, bias=layer.bias[0] if layer.cell == "gru" else layer.bias)
            for layer in network.layers[1:]
        ]
        self._head = network.head()
        self._names = [[f"{i}.{part}" for part in PARTS[layer.cell]] for i, layer in enumerate(network.layers)]

    @classmethod
    def open(cls, artifact: Artifact, make_model: Callable[[], Model], device: str = "auto") -> Runtime:
        if device not in ("auto", "cpu"):
            raise UnavailableError(f"the numpy runtime runs on the CPU only, not on {device!r}; use --device cpu")
        model = make_model()
        weights = artifact.weights()
        if model.native_runtime == "numpy":
            model.load_weights(weights)
            return ModelRuntime(model)
        network = model.describe(weights)
        if not isinstance(network, RecurrentNetwork):
            raise UnsupportedModelError(
                f"this model is not a GRU or LSTM stack and cannot run in the numpy runtime; "
                f"use --runtime {model.native_runtime}"
            )
        return cls(network)

    @classmethod
    def diagnose(cls) -> list[Check]:
        return [Check(f"numpy {np.__version__}", "works")]

    def forward(self, ids: Ids, state: State, lengths: Ids | None = None) -> tuple[Array, State]:
        logits = np.empty((*ids.shape, self.vocab_size), np.float32)
        for at, hidden, contexts, after in self._read(ids, state, lengths):
            state = after
            logits[:, at] = _product(hidden, *self._head)
            if self.network.ngram is not None:
                logits[:, at] += self.network.powers[1] * self.network.ngram.log_probabilities(contexts)
        return logits, state

    def prefill(self, ids: Ids, state: State, lengths: Ids | None = None) -> State:
        for piece, counts in self.pieces(ids, lengths):
            for *_, after in self._read(piece, state, counts):
                state = after
        return state

    def _read(self, ids: Ids, state: State, lengths: Ids | None) -> Iterator[tuple[slice, Array, Ids, State]]:
        """Run the layers and the n-gram chunk by chunk.

        Yields:
            A chunk's place, the last layer's output in it, the n-gram's contexts, meaningless without one, and the
            state after it.
        """
        self.state_spec.check(state)
        for start in range(0, ids.shape[1], _PROJECTED_AT_ONCE):
            at = slice(start, start + _PROJECTED_AT_ONCE)
            left = None if lengths is None else lengths - start
            values: Any = ids[:, at]
            after: dict[str, NDArray[Any]] = {}
            for layer, project, names in zip(self.network.layers, self._projections, self._names, strict=True):
                values, parts = _unroll(layer, project(values), tuple(state[name] for name in names), left)
                after.update(zip(names, parts, strict=True))
            contexts = ids[:, at]
            if self.network.ngram is not None:
                contexts, after["context"] = self.network.ngram.advance(ids[:, at], state["context"], left)
            state = State(after)
            yield at, values, contexts, state


def _product(hidden: Array, kernel: Array, bias: Array) -> Array:
    """``hidden · kernel + bias`` over ``[batch, time, width]``, as one product (matmul would do one per row)."""
    batch, time, width = hidden.shape
    flat = hidden.reshape(batch * time, width) @ kernel
    flat += bias
    return flat.reshape(batch, time, -1)


def _unroll(layer: RecurrentLayer, projected: Array, parts: Parts, lengths: Ids | None) -> tuple[Array, Parts]:
    """Step through ``[batch, time, gates]``: the outputs ``[batch, time, units]``, and each row's state at its end."""
    batch, time, _ = projected.shape
    outputs = np.empty((batch, time, layer.units), np.float32)
    step = STEPS[layer.cell]
    for position in range(time):
        before, parts = parts, step(layer, projected[:, position], parts)
        if lengths is not None:
            reads = (position < lengths)[:, None]
            parts = tuple(np.where(reads, new, old) for new, old in zip(parts, before, strict=True))
        outputs[:, position] = parts[0]
    return outputs, parts
