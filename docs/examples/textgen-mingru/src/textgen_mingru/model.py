"""The model ``mingru``: options, state and shapes of the weights, all without TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from textgen import StateSpec, TensorSpec
from textgen.options import Options
from textgen_keras import KerasModel

if TYPE_CHECKING:
    from textgen_mingru.network import MinGRUNetwork


class MinGRUOptions(Options):
    """Options of :class:`MinGRU`."""

    units: int = Field(256, ge=1, le=4096, description="Width of the embedding and of each layer's state.")
    layers: int = Field(2, ge=1, le=8, description="Number of stacked recurrent layers.")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Share of each layer's outputs that is dropped at random in training."
    )


class MinGRU(KerasModel):
    """Embedding → minimal gated recurrent units (Feng et al., "Were RNNs All We Needed?", 2024) → dense logits."""

    Options = MinGRUOptions

    options: MinGRUOptions

    @property
    def state_spec(self) -> StateSpec:
        """One tensor ``{layer}.h`` of shape ``[units]`` per layer."""
        return StateSpec(tuple(TensorSpec(f"{i}.h", (self.options.units,)) for i in range(self.options.layers)))

    @property
    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        units = self.options.units
        shapes: dict[str, tuple[int, ...]] = {"embedding": (self.vocab_size, units)}
        for index in range(self.options.layers):
            shapes[f"layers.{index}.kernel"] = (units, 2 * units)
            shapes[f"layers.{index}.bias"] = (2 * units,)
        return shapes | {"head.kernel": (units, self.vocab_size), "head.bias": (self.vocab_size,)}

    def make_network(self, seed: int) -> MinGRUNetwork:
        from textgen_mingru.network import MinGRUNetwork

        return MinGRUNetwork(self.options, self.vocab_size, self.state_spec, seed)
