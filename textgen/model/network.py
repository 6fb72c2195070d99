"""A library-neutral description of a recurrent network: input, GRU or LSTM layers, head, n-gram, as NumPy arrays.

Runtimes and exporters read it; it does not depend on the library that trained the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from textgen.errors import ArtifactError
from textgen.model.state import StateSpec, TensorSpec
from textgen.ngrams.context_tree import ContextTree

#: The kinds of recurrent layers.
Cell = Literal["gru", "lstm"]
Array = NDArray[np.float32]

#: The number of gates per cell. The columns of its kernels are in Keras's order: GRU update (z), reset (r),
#: candidate (h); LSTM input (i), forget (f), candidate (c), output (o).
GATES: dict[Cell, int] = {"gru": 3, "lstm": 4}

#: The tensor with the powers of network and n-gram in their mixture.
POWERS = "ngram.powers"

#: The state of an n-gram: the number of the longest known end of the text.
NGRAM_STATE = StateSpec((TensorSpec("context", (), "int32", ContextTree.beginning),))

#: The deviation of new rows of the input, and of new columns of the head, as a share of that of the known ones.
INPUT_SPREAD, HEAD_SPREAD = 1.0, 0.1


@dataclass(frozen=True)
class RecurrentLayer:
    """A layer of U units over I inputs, with G gates (see :data:`GATES`).

    Attributes:
        cell: ``"gru"``, which applies the reset gate after the recurrent product (Keras's ``reset_after=True``, ONNX's
            ``linear_before_reset=1``), or ``"lstm"``.
        kernel: ``[I, G * U]`` float32.
        recurrent_kernel: ``[U, G * U]`` float32.
        bias: float32; LSTM ``[4 * U]``; GRU ``[2, 3 * U]``, the input's row first, then the recurrent row.
    """

    cell: Cell
    kernel: Array
    recurrent_kernel: Array
    bias: Array

    @property
    def units(self) -> int:
        """The number U of units, which is the width of the state."""
        return int(self.recurrent_kernel.shape[0])


@dataclass(frozen=True)
class RecurrentNetwork:
    """Input (embedding or one-hot) → recurrent layers → dense head, over a vocabulary of V ids.

    If there is an n-gram, the logits are the sum of the head's and of the n-gram's log-probabilities, each times a
    power: a log-linear mixture (Klakow, "Log-linear interpolation of language models", 1998).

    Attributes:
        embedding: ``[V, E]`` float32, or ``None`` if the input is one-hot.
        layers: the layers, from input to head.
        head_kernel: ``[U, V]`` float32.
        head_bias: ``[V]`` float32.
        ngram: over the same ids; ``None`` if there is none.
        powers: of the head's logits and of the n-gram's log-probabilities, ``[2]`` float32; 1 without an n-gram.

    Raises:
        ArtifactError: if a shape does not fit the others.
    """

    embedding: Array | None
    layers: tuple[RecurrentLayer, ...]
    head_kernel: Array
    head_bias: Array
    ngram: ContextTree | None = None
    powers: Array = field(default_factory=lambda: np.ones(2, np.float32))

    #: The most that a power may be.
    largest_power: ClassVar[float] = 100

    def __post_init__(self) -> None:
        for name, (found, expected) in self._shapes().items():
            if found != expected:
                raise ArtifactError(f"tensor {name} has shape {list(found)}, expected {list(expected)}")

    def _shapes(self) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
        vocab = self.head_bias.shape[0]
        width = vocab if self.embedding is None else self.embedding.shape[-1]
        shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        if self.embedding is not None:
            shapes["embedding"] = (self.embedding.shape, (vocab, width))
        for index, layer in enumerate(self.layers):
            columns = GATES[layer.cell] * layer.units
            bias = (2, columns) if layer.cell == "gru" else (columns,)
            shapes[f"layers.{index}.kernel"] = (layer.kernel.shape, (width, columns))
            shapes[f"layers.{index}.recurrent_kernel"] = (layer.recurrent_kernel.shape, (layer.units, columns))
            shapes[f"layers.{index}.bias"] = (layer.bias.shape, bias)
            width = layer.units
        shapes["head.kernel"] = (self.head_kernel.shape, (width, vocab))
        shapes["head.bias"] = (self.head_bias.shape, (vocab,))
        return shapes

    @property
    def vocab_size(self) -> int:
        """The number V of ids."""
        return int(self.head_bias.shape[0])

    @property
    def state_spec(self) -> StateSpec:
        """One tensor ``{layer}.h`` of shape ``[U]`` per layer, and for an LSTM ``{layer}.c``; all start at 0.

        An n-gram adds ``context``, int32 of shape ``[]``: the number of the longest known end of the text.
        """
        units = [layer.units for layer in self.layers]
        return recurrent_state_spec(self.layers[0].cell, units, has_ngram=self.ngram is not None)

    def input_table(self) -> Array:
        """Returns the first layer's input projection of each id, ``[V, G * U]`` float32: embedding · kernel + bias.

        Looking up a row replaces the embedding (or one-hot vector), product and bias of each step.
        """
        first = self.layers[0]
        projected = first.kernel if self.embedding is None else self.embedding @ first.kernel
        bias = first.bias[0] if first.cell == "gru" else first.bias
        return np.asarray(projected + bias, dtype=np.float32)

    def head(self) -> tuple[Array, Array]:
        """Returns kernel and bias of the head, times its power."""
        return self.powers[0] * self.head_kernel, self.powers[0] * self.head_bias

    def tensors(self) -> dict[str, Array]:
        """Returns the weights by name, as in ``weights.safetensors``."""
        named = {} if self.embedding is None else {"embedding": self.embedding}
        for index, layer in enumerate(self.layers):
            named[f"layers.{index}.kernel"] = layer.kernel
            named[f"layers.{index}.recurrent_kernel"] = layer.recurrent_kernel
            named[f"layers.{index}.bias"] = layer.bias
        named |= {"head.kernel": self.head_kernel, "head.bias": self.head_bias}
        return named if self.ngram is None else named | ngram_weights(self.ngram, self.powers)

    def with_ids(self, old_ids: NDArray[np.int32]) -> RecurrentNetwork:
        """Returns the network for another vocabulary; it computes the same for ids that it has kept.

        A new id enters as one drawn around the mean of the known ones, as far from it as they are, so that new ids
        differ from the first batch on. Its logit begins near the mean of the known ones, with the lowest of their
        biases: it is unlikely, and the probabilities of known ids stay nearly the same (compare Hewitt, "Initializing
        New Word Embeddings for Pretrained Language Models", 2021). The draw is a function of the sizes alone.

        Args:
            old_ids: ``[ids]`` int32: for each id the one that it had in this network, -1 for a new one.

        Raises:
            ValueError: if no id is kept, so that there is nothing to draw new ones around.
        """
        if not (old_ids >= 0).any():
            raise ValueError("a network for another vocabulary must keep at least one id")
        layers = self.layers
        if self.embedding is None:
            layers = (replace(layers[0], kernel=_with_rows(layers[0].kernel, old_ids, INPUT_SPREAD)), *layers[1:])
        lowest = self.head_bias[old_ids[old_ids >= 0]].min()
        return RecurrentNetwork(
            embedding=None if self.embedding is None else _with_rows(self.embedding, old_ids, INPUT_SPREAD),
            layers=layers,
            head_kernel=np.ascontiguousarray(_with_rows(self.head_kernel.T, old_ids, HEAD_SPREAD).T),
            head_bias=np.where(old_ids < 0, lowest, self.head_bias[old_ids]),
            ngram=None if self.ngram is None else self.ngram.with_ids(old_ids),
            powers=self.powers,
        )

    @classmethod
    def from_tensors(cls, cell: Cell, tensors: Mapping[str, NDArray[Any]]) -> RecurrentNetwork:
        """The inverse of :meth:`tensors`; without the tensor ``embedding``, the input is one-hot.

        There is an n-gram if there are tensors whose names begin with :attr:`ContextTree.prefix`.

        Raises:
            ArtifactError: if a tensor is missing, superfluous, or has the wrong shape.
        """
        count = sum(name.endswith(".recurrent_kernel") for name in tensors)
        names = [f"layers.{i}.{part}" for i in range(count) for part in ("kernel", "recurrent_kernel", "bias")]
        expected = {*names, "head.kernel", "head.bias"}
        tree, powers = ngram_tensors(tensors)
        tensors = {name: array for name, array in tensors.items() if not name.startswith(ContextTree.prefix)}
        found = set(tensors) - {"embedding"}
        if count == 0 or found != expected:
            raise ArtifactError(
                f"the weights do not describe a {cell} stack: missing or unexpected tensors {sorted(found ^ expected)}"
            )
        named = {name: np.asarray(array, dtype=np.float32) for name, array in tensors.items()}
        layers = tuple(
            RecurrentLayer(
                cell=cell,
                kernel=named[f"layers.{i}.kernel"],
                recurrent_kernel=named[f"layers.{i}.recurrent_kernel"],
                bias=named[f"layers.{i}.bias"],
            )
            for i in range(count)
        )
        return cls(
            embedding=named.get("embedding"),
            layers=layers,
            head_kernel=named["head.kernel"],
            head_bias=named["head.bias"],
            powers=powers,
            ngram=ContextTree.from_tensors(tree, named["head.bias"].size) if tree else None,
        )


def recurrent_state_spec(cell: Cell, units: list[int], *, has_ngram: bool = False) -> StateSpec:
    """Returns the state of a stack, given the units of each layer: ``0.h``, for an LSTM ``0.c``, ``1.h``, and so on.

    That of an n-gram is the last one, ``context``.
    """
    parts = ("h", "c") if cell == "lstm" else ("h",)
    tensors = [TensorSpec(f"{i}.{part}", (width,)) for i, width in enumerate(units) for part in parts]
    return StateSpec((*tensors, *(NGRAM_STATE.tensors if has_ngram else ())))


def ngram_weights(ngram: ContextTree, powers: Array) -> dict[str, NDArray[Any]]:
    """Returns an n-gram and the powers of network and n-gram, ``[2]`` float32, by their names among the weights."""
    return {ContextTree.prefix + name: array for name, array in ngram.tensors().items()} | {POWERS: powers}


def ngram_tensors(tensors: Mapping[str, NDArray[Any]]) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32]]:
    """The inverse of :func:`ngram_weights`, but for the names: those of :meth:`ContextTree.tensors`.

    Without an n-gram among the weights, there are no tensors, and the powers are 1.

    Raises:
        ArtifactError: if these are missing, or not from 0 to the largest one.
    """
    prefix = ContextTree.prefix
    found = {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
    powers = found.pop(POWERS.removeprefix(prefix), None)
    if not found and powers is None:
        return {}, np.ones(2, np.float32)
    if not found or powers is None or powers.dtype != np.float32 or powers.shape != (2,):
        raise ArtifactError(f"the weights of the n-gram are incomplete, or {POWERS} is not float32 [2]")
    if not ((powers >= 0) & (powers <= RecurrentNetwork.largest_power)).all():
        raise ArtifactError(f"tensor {POWERS} has numbers that are not from 0 to {RecurrentNetwork.largest_power}")
    return found, powers


def _with_rows(table: Array, old_ids: NDArray[np.int32], spread: float) -> Array:
    """The rows ``[V, width]`` of old ids; new ones are drawn around their mean, with a share of their deviation."""
    known = table[old_ids[old_ids >= 0]]
    noise = np.random.default_rng(len(old_ids)).normal(0, spread, (len(old_ids), table.shape[1]))
    new = known.mean(axis=0) + noise.astype(np.float32) * known.std(axis=0)
    return np.asarray(np.where((old_ids < 0)[:, None], new, table[old_ids]), np.float32)
