"""The models ``gru`` and ``lstm``: input, recurrent layers, dropout, dense head. Nothing heavy is imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from textgen import GATES, Cell, RecurrentNetwork, StateSpec, Tensors, recurrent_state_spec
from textgen.options import Options
from textgen_keras.keras_model import KerasModel
from textgen_keras.shapes import check_shapes

if TYPE_CHECKING:
    from textgen_keras.network.recurrent import KerasNetwork

_EMBEDDING_DIM = 256

#: What suits corpora below a number of characters. Few names are soon known by heart: a small model with much dropout
#: then does better on held-out ones. A book is known by heart in ten epochs, unless weights are left out, too.
_SUGGESTED: tuple[tuple[int, dict[str, Any]], ...] = (
    (50_000, {"units": 128, "dropout": 0.3}),
    (500_000, {"units": 256, "dropout": 0.2}),
    (5_000_000, {"units": 768, "dropout": 0.5, "weight_dropout": 0.2}),
)


class RecurrentOptions(Options):
    """What a stack of recurrent layers is made of."""

    input: Literal["embedding", "one-hot"] = Field("embedding", description="How an id enters the first layer.")
    embedding_dim: int | None = Field(
        None, ge=1, le=4096, description=f"Width of the embedding, {_EMBEDDING_DIM} by default; not for input=one-hot."
    )
    units: int = Field(512, ge=1, le=4096, description="Width of each layer's state.")
    layers: int = Field(1, ge=1, le=8, description="Recurrent layers, one upon the other.")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of each layer's outputs that is left out at random in training."
    )
    weight_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of each layer's recurrent weights that is left out at random in a batch of training "
        "(DropConnect).",
    )
    tie_weights: bool = Field(
        False, description="Use the embedding as the head's kernel, too; needs embedding_dim = units."
    )

    @model_validator(mode="after")
    def _tied_weights_have_one_shape(self) -> Self:
        if self.tie_weights and self.embedding_width != self.units:
            raise ValueError(f"tie_weights needs input=embedding and embedding_dim={self.units}, the number of units")
        return self

    @model_validator(mode="after")
    def _embedding_dim_needs_an_embedding(self) -> Self:
        if self.input == "one-hot" and self.embedding_dim is not None:
            raise ValueError("embedding_dim has no meaning with input=one-hot; leave it out, or set input=embedding")
        return self

    @property
    def embedding_width(self) -> int | None:
        """Width of the embedding; ``None`` for one-hot input."""
        return None if self.input == "one-hot" else self.embedding_dim or _EMBEDDING_DIM


class RecurrentModel(KerasModel):
    """Input (embedding or one-hot) → recurrent layers, each followed by dropout → dense logits."""

    Options = RecurrentOptions

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
        """The shape of every weight, by the names of :meth:`textgen.model.network.RecurrentNetwork.tensors`."""
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

    def describe(self, weights: Tensors) -> RecurrentNetwork:
        check_shapes("the weights", weights, self.tensor_shapes)
        return RecurrentNetwork.from_tensors(self.cell, weights)

    def make_network(self, seed: int) -> KerasNetwork:
        from textgen_keras.network.recurrent import KerasNetwork

        return KerasNetwork(
            self.cell,
            vocab_size=self.vocab_size,
            embedding_dim=self.options.embedding_width,
            units=self.options.units,
            layers=self.options.layers,
            dropout=self.options.dropout,
            weight_dropout=self.options.weight_dropout,
            tied=self.options.tie_weights,
            seed=seed,
        )


class GRU(RecurrentModel):
    """Gated recurrent units (Cho et al. 2014), the reset gate after the recurrent product, as in Keras."""

    cell = "gru"


class LSTM(RecurrentModel):
    """Long short-term memory (Hochreiter & Schmidhuber 1997), as in Keras."""

    cell = "lstm"
