"""The network of ``mingru`` in Keras. Importing this module imports TensorFlow."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from textgen import StateSpec
from textgen_keras import StatefulNetwork
from textgen_mingru.model import MinGRUOptions


def scan(keep: Any, add: Any, before: Any) -> Any:
    """All states of the recurrence ``h[t] = keep[t] * h[t - 1] + add[t]``, computed for all t in parallel.

    Two consecutive steps are one step of the same form, so each round joins every position with the one as far before
    it as both cover steps: after k rounds a position covers 2**k steps (Hillis & Steele, "Data Parallel Algorithms",
    1986).

    Args:
        keep: ``[batch, time, units]``.
        add: ``[batch, time, units]``.
        before: ``[batch, units]``, the state before the first step.

    Returns:
        ``[batch, time, units]``.
    """
    add = tf.concat([add[:, :1] + keep[:, :1] * before[:, None], add[:, 1:]], axis=1)
    time = tf.shape(add)[1]

    def join(covered: Any, keep: Any, add: Any) -> tuple[Any, Any, Any]:
        earlier_add = tf.concat([tf.zeros_like(add[:, :covered]), add[:, :-covered]], axis=1)
        earlier_keep = tf.concat([tf.ones_like(keep[:, :covered]), keep[:, :-covered]], axis=1)
        return 2 * covered, keep * earlier_keep, add + keep * earlier_add

    _, _, states = tf.while_loop(lambda covered, *_: covered < time, join, (tf.constant(1), keep, add))
    return states


class MinGRUNetwork(StatefulNetwork):
    """Each layer: z = σ(W x + b), candidate c = V x + d, h[t] = (1 - z) h[t - 1] + z c.

    Neither the gate nor the candidate reads the state, so training needs no loop over time.

    Args:
        options: sizes.
        vocab_size: the number V of ids.
        state_spec: the tensors of the state.
        seed: of the initial weights.
    """

    def __init__(self, options: MinGRUOptions, vocab_size: int, state_spec: StateSpec, seed: int) -> None:
        super().__init__(vocab_size, state_spec, name="mingru")
        seeds = iter(np.random.SeedSequence(seed).generate_state(options.layers + 2).tolist())
        self.dropout = options.dropout
        uniform = keras.initializers.RandomUniform(seed=next(seeds))
        self.embedding = keras.layers.Embedding(vocab_size, options.units, uniform)
        self.embedding.build()
        self.layers_in_order = [_dense(2 * options.units, options.units, next(seeds)) for _ in range(options.layers)]
        self.head = _dense(vocab_size, options.units, next(seeds))

    def call(self, ids: Any, state: Any, lengths: Any = None, dropout_seed: Any = None) -> tuple[Any, list[Any]]:
        hidden, after = self.embedding(ids), []
        for index, (layer, before) in enumerate(zip(self.layers_in_order, state, strict=True)):
            gate, candidate = tf.split(layer(hidden), 2, axis=2)
            update = tf.sigmoid(gate)
            if lengths is not None:  # padding leaves the state unchanged
                update *= tf.sequence_mask(lengths, tf.shape(ids)[1], tf.float32)[:, :, None]
            hidden = scan(1 - update, update * candidate, before)
            after.append(hidden[:, -1])
            if dropout_seed is not None and self.dropout:
                key = tf.random.experimental.stateless_fold_in(dropout_seed, index)
                hidden = tf.nn.experimental.stateless_dropout(hidden, self.dropout, key)
        return self.head(hidden), after

    def named_variables(self) -> dict[str, Any]:
        named = {"embedding": self.embedding.embeddings}
        for index, layer in enumerate(self.layers_in_order):
            named |= {f"layers.{index}.kernel": layer.kernel, f"layers.{index}.bias": layer.bias}
        return named | {"head.kernel": self.head.kernel, "head.bias": self.head.bias}


def _dense(units: int, width: int, seed: int) -> Any:
    layer = keras.layers.Dense(units, kernel_initializer=keras.initializers.GlorotUniform(seed=seed))
    layer.build((None, None, width))
    return layer
