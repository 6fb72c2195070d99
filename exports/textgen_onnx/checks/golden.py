"""Golden vectors: inputs and outputs of the graphs, by which another host can check itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen import Chain, Draw, Runtime, uniforms
from textgen_onnx.contract import parameter_feeds


def golden_vectors(runtime: Runtime, chain: Chain, forbidden: Sequence[int]) -> dict[str, NDArray[Any]]:
    """Inputs and outputs of both graphs.

    ``step.*`` reads three rows of 5, 3 and 1 ids; ``generate.*`` writes 16 steps from the state after them.
    """
    batch, steps = 3, 16
    ids = (np.arange(batch * 5).reshape(batch, 5) * 7 % runtime.vocab_size).astype(np.int32)
    lengths = np.array([5, 3, 1], np.int32)
    past = runtime.initial_state(batch)
    logits, state = runtime.forward(ids, past, lengths)
    counts = np.arange(ids.shape[1]) < lengths[:, None]
    vectors: dict[str, NDArray[Any]] = {"step.ids": ids.astype(np.int64), "step.lengths": lengths.astype(np.int64)}
    vectors |= {f"step.past.{name}": array for name, array in past.items()}
    vectors |= {"step.logits": np.where(counts[:, :, None], logits, 0)}
    vectors |= {f"step.present.{name}": array for name, array in state.items()}
    draw = Draw([chain] * batch, runtime.vocab_size, forbidden)
    drawn = uniforms(0, range(batch), 1, steps)
    last = ids[np.arange(batch), lengths - 1]
    vectors |= {"generate.last_ids": last.astype(np.int64), "generate.uniforms": drawn}
    vectors |= {f"generate.past.{name}": array for name, array in state.items()}
    vectors |= {f"generate.{name}": column for name, column in parameter_feeds(draw).items()}
    if draw.seen is not None:
        vectors["generate.seen"] = draw.seen.copy()
    block = runtime.generate(last, state, draw, drawn)
    vectors["generate.ids"] = block.ids.astype(np.int64)
    return vectors | {f"generate.present.{name}": array for name, array in block.state.items()}
