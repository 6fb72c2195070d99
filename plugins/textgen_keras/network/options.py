"""The options of the models ``gru`` and ``lstm``. Nothing heavy is imported here."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from textgen import RecurrentNetwork
from textgen.options import Options

_EMBEDDING_DIM = 256


class RecurrentOptions(Options):
    """The options of a stack of recurrent layers."""

    input: Literal["embedding", "one-hot"] = Field("embedding", description="How an id enters the first layer.")
    embedding_dim: int | None = Field(
        None, ge=1, le=4096, description=f"Width of the embedding, {_EMBEDDING_DIM} by default; not for input=one-hot."
    )
    units: int = Field(512, ge=1, le=4096, description="Width of each layer's state.")
    layers: int = Field(1, ge=1, le=8, description="Number of stacked recurrent layers.")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of each layer's outputs that is dropped at random in training."
    )
    weight_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of each layer's recurrent weights that is dropped at random in each training batch "
        "(DropConnect).",
    )
    input_weight_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the weights between each layer and its input that is dropped at random in each training "
        "batch.",
    )
    ngram: int = Field(
        0,
        ge=0,
        le=2**20,
        description="Contexts, at most, of an n-gram that is counted in the training text and mixed into the "
        "network; 0 for none.",
    )
    ngram_powers: tuple[float, float] | None = Field(
        None,
        description="Powers of the network and of the n-gram in their mixture; by default fitted to the held-out text.",
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

    @model_validator(mode="after")
    def _an_ngram_has_two_contexts(self) -> Self:
        if self.ngram == 1:
            raise ValueError("ngram must be 0, for none, or at least 2")
        if self.ngram_powers is not None:
            if not self.ngram:
                raise ValueError("ngram_powers has no meaning with ngram=0; leave it out")
            if not all(0 <= power <= RecurrentNetwork.largest_power for power in self.ngram_powers):
                raise ValueError(f"ngram_powers must be two numbers from 0 to {RecurrentNetwork.largest_power}")
        return self

    @property
    def embedding_width(self) -> int | None:
        """Width of the embedding; ``None`` for one-hot input."""
        return None if self.input == "one-hot" else self.embedding_dim or _EMBEDDING_DIM
