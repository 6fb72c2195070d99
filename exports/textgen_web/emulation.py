"""The engine's arithmetic in NumPy: what an export computes, to compare with its source and to make golden vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from textgen import Cell, ContextTree, Ids, RecurrentNetwork, Runtime, State, StateSpec
from textgen_web.kernel import SIGMOID, TANH, Rational
from textgen_web.weights import QUANTUM, Tensors

if TYPE_CHECKING:
    from textgen import Artifact, Model

Array = NDArray[np.float32]


class Emulation(Runtime):
    """Runs the tensors of an export.

    Args:
        network: that was exported; its n-gram is used as it is.
        tensors: of the export.
        state_spec: of its model.
    """

    def __init__(self, network: RecurrentNetwork | ContextTree, tensors: Tensors, state_spec: StateSpec) -> None:
        self._ngram = network if isinstance(network, ContextTree) else network.ngram
        self._cell: Cell = "gru" if isinstance(network, ContextTree) else network.layers[0].cell
        self._layers = 0 if isinstance(network, ContextTree) else len(network.layers)
        self._tensors = {name: array.astype(np.float32) for name, array in tensors.items()}
        self._embedding = self._tensors.get("embedding")
        self.vocab_size, self.state_spec = network.vocab_size, state_spec

    @classmethod
    def open(cls, artifact: Artifact, make_model: Callable[[], Model], device: str = "auto") -> Runtime:
        raise NotImplementedError

    def forward(self, ids: Ids, state: State, lengths: Ids | None = None) -> tuple[Array, State]:
        batch, time = ids.shape
        parts: dict[str, NDArray[Any]] = dict(state)
        outputs = np.empty((batch, time, self._units), np.float32)
        for position in range(time):
            after = self._read(ids[:, position], parts)
            if lengths is not None:
                reads = position < lengths
                after = {name: np.where(reads[:, None], array, parts[name]) for name, array in after.items()}
            parts |= after
            if self._layers:
                outputs[:, position] = parts[f"{self._layers - 1}.h"]
        logits = np.zeros((batch, time, self.vocab_size), np.float32)
        if self._layers:
            logits += outputs @ self._tensors["head.kernel"] + self._tensors["head.bias"]
        if self._ngram is not None:
            contexts, parts["context"] = self._ngram.advance(ids, state["context"], lengths)
            logits += self._tensors["ngram.power"] * self._ngram.log_probabilities(contexts)
        return logits, State(parts)

    @property
    def _units(self) -> int:
        return len(self._tensors["head.kernel"]) if self._layers else 0

    def _read(self, ids: Ids, state: dict[str, NDArray[Any]]) -> dict[str, Array]:
        """The state of the layers after an id per row."""
        after: dict[str, Array] = {}
        values: Array = np.empty(0, np.float32)
        for layer in range(self._layers):
            name = f"layers.{layer}"
            if layer:
                projected = self._product(values, f"{name}.kernel")
            elif self._embedding is not None:
                projected = self._embedding[ids] @ self._tensors[f"{name}.kernel"]
            else:
                projected = self._tensors[f"{name}.kernel"][ids]
            h, bias = state[f"{layer}.h"], self._tensors[f"{name}.bias"]
            recurrent = self._product(h, f"{name}.recurrent_kernel")
            if self._cell == "gru":
                projected, recurrent = projected + bias[0], recurrent + bias[1]
                (z, r, candidate), (rz, rr, rc) = (np.split(each, 3, axis=1) for each in (projected, recurrent))
                candidate = _tanh(candidate + _sigmoid(r + rr) * rc)
                values = np.asarray(candidate + _sigmoid(z + rz) * (h - candidate), np.float32)
            else:
                take, keep, candidate, give = np.split(projected + recurrent + bias, 4, axis=1)
                c = _sigmoid(keep) * state[f"{layer}.c"] + _sigmoid(take) * _tanh(candidate)
                values = _sigmoid(give) * _tanh(c)
                after[f"{layer}.c"] = c
            after[f"{layer}.h"] = values
        return after

    def _product(self, values: Array, name: str) -> Array:
        if f"{name}.quantized" not in self._tensors:
            return np.asarray(values @ self._tensors[name], np.float32)
        whole = np.rint(values / QUANTUM) @ self._tensors[f"{name}.quantized"]
        return np.asarray(whole * self._tensors[f"{name}.scale"], np.float32)


def _rational(x: Array, formula: Rational) -> Array:
    bound, numerator, denominator, added = formula
    x = np.clip(x, np.float32(-bound), np.float32(bound))
    square = x * x

    def polynomial(coefficients: Sequence[float]) -> Array:
        first, *others = map(np.float32, coefficients)
        value: Array = np.full_like(x, first)
        for each in others:
            value = value * square + each
        return value

    return np.asarray(polynomial(numerator) * x / polynomial(denominator) + np.float32(added), np.float32)


_sigmoid, _tanh = partial(_rational, formula=SIGMOID), partial(_rational, formula=TANH)
