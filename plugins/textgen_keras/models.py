"""The models ``gru`` and ``lstm``: input, recurrent layers, dropout, dense head. Nothing heavy is imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from textgen import GATES, Cell, RecurrentNetwork, StateSpec, Tensors, recurrent_state_spec
from textgen_keras.keras_model import KerasModel
from textgen_keras.network.options import RecurrentOptions
from textgen_keras.shapes import check_shapes

if TYPE_CHECKING:
    from textgen_keras.network.recurrent import KerasNetwork

#: The options that suit corpora below a number of characters. A few names are soon memorised: on held-out names, a
#: small model with much dropout does better. A book is memorised in ten epochs, unless weights are dropped, too.
_SUGGESTED: tuple[tuple[int, dict[str, Any]], ...] = (
    (50_000, {"units": 128, "dropout": 0.3}),
    (500_000, {"units": 256, "dropout": 0.2}),
    (5_000_000, {"units": 768, "dropout": 0.5, "weight_dropout": 0.2}),
)


class RecurrentModel(KerasModel):
    """Input (embedding or one-hot) → recurrent layers, each followed by dropout → dense logits."""

    Options = RecurrentOptions
    adjustable = ("dropout", "weight_dropout", "input_weight_dropout")

    #: The kind of the recurrent layers.
    cell: ClassVar[Cell]

    options: RecurrentOptions

    @classmethod
    def suggested_options(cls, characters: int) -> dict[str, Any]:
        for below, options in _SUGGESTED:
            if characters < below:
                return options
        return {}

    @property
    def state_spec(self) -> StateSpec:
        return recurrent_state_spec(self.cell, [self.options.units] * self.options.layers)

    @property
    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every weight, by the names of :meth:`textgen.RecurrentNetwork.tensors`."""
        options, vocab, columns = self.options, self.vocab_size, GATES[self.cell] * self.options.units
        shapes: dict[str, tuple[int, ...]] = {}
        width = options.embedding_width or vocab
        if options.embedding_width is not None:
            shapes["embedding"] = (vocab, width)
        for index in range(options.layers):
            shapes[f"layers.{index}.kernel"] = (width, columns)
            shapes[f"layers.{index}.recurrent_kernel"] = (options.units, columns)
            shapes[f"layers.{index}.bias"] = (2, columns) if self.cell == "gru" else (columns,)
            width = options.units
        return shapes | {"head.kernel": (width, vocab), "head.bias": (vocab,)}

    @property
    def parameter_count(self) -> int:
        return super().parameter_count - self.vocab_size * self.options.units * self.options.tie_weights

    def grow_weights(self, tensors: Tensors, old_ids: NDArray[np.int32]) -> Tensors:
        grown = RecurrentNetwork.from_tensors(self.cell, tensors).with_ids(old_ids).tensors()
        if self.options.tie_weights:
            grown["embedding"] = np.ascontiguousarray(grown["head.kernel"].T)
        return grown

    def describe(self, weights: Tensors) -> RecurrentNetwork:
        check_shapes("the weights", weights, self.tensor_shapes)
        return RecurrentNetwork.from_tensors(self.cell, weights)

    def make_network(self, seed: int) -> KerasNetwork:
        from textgen_keras.network.recurrent import KerasNetwork

        return KerasNetwork(self.cell, self.options, self.vocab_size, seed=seed)


class GRU(RecurrentModel):
    """Gated recurrent units (Cho et al. 2014), the reset gate after the recurrent product, as in Keras."""

    cell = "gru"


class LSTM(RecurrentModel):
    """Long short-term memory (Hochreiter & Schmidhuber 1997), as in Keras."""

    cell = "lstm"
