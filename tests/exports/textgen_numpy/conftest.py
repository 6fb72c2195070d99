from collections.abc import Callable

import numpy as np
import pytest

from textgen.model.network import GATES, Cell, RecurrentNetwork


@pytest.fixture(scope="session")
def make_network() -> Callable[..., RecurrentNetwork]:
    """Networks of random weights, biases among them; ``width=None`` for one-hot input."""

    def make(cell: Cell, layers: int = 1, vocab: int = 7, width: int | None = 3, units: int = 5) -> RecurrentNetwork:
        rng = np.random.default_rng([layers, units, vocab])
        columns = GATES[cell] * units
        shapes: dict[str, tuple[int, ...]] = {} if width is None else {"embedding": (vocab, width)}
        for index in range(layers):
            shapes[f"layers.{index}.kernel"] = (units if index else width or vocab, columns)
            shapes[f"layers.{index}.recurrent_kernel"] = (units, columns)
            shapes[f"layers.{index}.bias"] = (2, columns) if cell == "gru" else (columns,)
        shapes |= {"head.kernel": (units, vocab), "head.bias": (vocab,)}
        return RecurrentNetwork.from_tensors(cell, {name: rng.normal(0, 0.7, shape) for name, shape in shapes.items()})

    return make
