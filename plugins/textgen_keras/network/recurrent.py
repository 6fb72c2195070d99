"""The network of ``gru`` and ``lstm`` as a ``keras.Model``.

Importing this module imports TensorFlow: see :func:`require_tensorflow`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from textgen import Cell, recurrent_state_spec
from textgen_keras.devices import is_on_gpu
from textgen_keras.network.compiled import head_cross_entropy
from textgen_keras.network.layers import run_layer
from textgen_keras.network.lookup import LookUp, look_up
from textgen_keras.network.options import RecurrentOptions
from textgen_keras.stateful_network import StatefulNetwork

_LAYERS: dict[Cell, Any] = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}

#: Below this vocabulary size all rows are projected before the look-up: a batch usually has more ids than that.
_TABLE_BELOW = 1024

#: The streams of random numbers that decide what is dropped, by layer: ``index`` of outputs, ``-1 - index`` of
#: recurrent weights, and this number + ``index`` of input weights.
_INPUT_WEIGHTS = 1000


class KerasNetwork(StatefulNetwork):
    """Input (embedding or one-hot) → recurrent layers, each followed by dropout → dense logits.

    The layers are Keras's own with their default initialisers, drawn from the seed alone. On a CPU they train through
    :mod:`textgen_keras.network.layers`.

    Args:
        cell: ``"gru"`` or ``"lstm"``.
        options: input, sizes and dropout.
        vocab_size: the number V of ids.
        seed: of the initial weights.
    """

    def __init__(self, cell: Cell, options: RecurrentOptions, vocab_size: int, *, seed: int) -> None:
        super().__init__(vocab_size, recurrent_state_spec(cell, [options.units] * options.layers), name=cell)
        seeds = iter(np.random.SeedSequence(seed).generate_state(2 * options.layers + 2).tolist())
        self.cell = cell
        self.dropout = options.dropout
        self.weight_dropout = options.weight_dropout
        self.input_weight_dropout = options.input_weight_dropout
        self.embedding: Any = None
        if options.embedding_width is not None:
            uniform = keras.initializers.RandomUniform(seed=next(seeds))
            self.embedding = keras.layers.Embedding(vocab_size, options.embedding_width, uniform, name="embedding")
            self.embedding.build()
        width = options.embedding_width or vocab_size
        self.recurrent = []
        for index in range(options.layers):
            layer = _LAYERS[cell](
                options.units,
                kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
                recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
                return_sequences=True,
                return_state=True,
                seed=0,  # unused; without it Keras draws one from Python's global generator
                name=f"layers_{index}",
            )
            layer.build((None, None, width))
            self.recurrent.append(layer)
            width = options.units
        self.head_kernel = None
        if not options.tie_weights:
            glorot = keras.initializers.GlorotUniform(seed=next(seeds))
            self.head_kernel = self.add_weight(
                shape=(options.units, vocab_size), initializer=glorot, name="head_kernel"
            )
        self.head_bias = self.add_weight(shape=(vocab_size,), initializer="zeros", name="head_bias")
        self.parts = 2 if cell == "lstm" else 1

    def call(self, ids: Any, state: Any, lengths: Any = None, dropout_seed: Any = None) -> tuple[Any, list[Any]]:
        # cuDNN rejects a row without ids: read one id, and keep the state from before it.
        mask = None if lengths is None else tf.sequence_mask(tf.maximum(lengths, 1), tf.shape(ids)[1])
        hidden = tf.one_hot(ids, self.vocab_size) if self.embedding is None else self.embedding(ids)
        after: list[Any] = []
        for index, layer in enumerate(self.recurrent):
            before = state[len(after) : len(after) + self.parts]
            # The casts are for mixed precision.
            hidden, *new = (tf.cast(part, tf.float32) for part in layer(hidden, initial_state=before, mask=mask))
            if lengths is not None:
                new = [tf.where(lengths[:, None] > 0, now, then) for now, then in zip(new, before, strict=True)]
            after += new
            hidden = _drop(hidden, self.dropout, dropout_seed, index)
        return self._head(hidden), after

    def learn(self, ids: Any, state: Any, lengths: Any, dropout_seed: Any) -> tuple[Any, list[Any]]:
        if self._is_on_gpu() and not (self.weight_dropout or self.input_weight_dropout):
            return self(ids, state, lengths, dropout_seed)  # type: ignore[no-any-return]  # cuDNN
        hidden, after = self._learn_layers(ids, state, lengths, dropout_seed)
        return tf.transpose(self._head(hidden), [1, 0, 2]), after

    def nats(
        self, ids: Any, targets: Any, weights: Any, state: Any, lengths: Any, dropout_seed: Any
    ) -> tuple[Any, list[Any]]:
        if self._is_on_gpu():
            return super().nats(ids, targets, weights, state, lengths, dropout_seed)
        hidden, after = self._learn_layers(ids, state, lengths, dropout_seed)
        return head_cross_entropy(hidden, *self._head_weights(), targets, weights), after

    def _is_on_gpu(self) -> bool:
        return is_on_gpu(self.head_bias.value)

    def _learn_layers(self, ids: Any, state: Any, lengths: Any, dropout_seed: Any) -> tuple[Any, list[Any]]:
        """The input of the head, ``[time, batch, U]``, and the state after each row's last id."""
        hidden: Any = None
        after: list[Any] = []
        for index, layer in enumerate(self.recurrent):
            recurrent = _drop(layer.cell.recurrent_kernel.value, self.weight_dropout, dropout_seed, -1 - index)
            kernel = _drop(layer.cell.kernel.value, self.input_weight_dropout, dropout_seed, _INPUT_WEIGHTS + index)
            dtype = layer.compute_dtype  # of products; under mixed precision not the dtype of weights and states
            before = state[len(after) : len(after) + self.parts]
            project = partial(_dense, hidden, dtype=dtype) if index else partial(self._project_ids, ids)
            weights = tf.cast(recurrent, dtype), kernel, layer.cell.bias.value
            hidden, states = run_layer(self.cell, project, before, *weights, on_gpu=self._is_on_gpu())
            after += [_after(values, lengths) for values in states]
            hidden = _drop(hidden, self.dropout, dropout_seed, index)
        return hidden, after

    def _project_ids(self, ids: Any, kernel: Any, bias: Any) -> Any:
        """The first layer's ``embedding · kernel + bias`` of ids ``[batch, time]``, time first."""
        embedding = None if self.embedding is None else self.embedding.embeddings.value
        if self.vocab_size < _TABLE_BELOW:
            return LookUp((kernel if embedding is None else tf.matmul(embedding, kernel)) + bias, ids)
        return look_up(kernel + bias, ids) if embedding is None else _dense(look_up(embedding, ids), kernel, bias)

    def _head(self, hidden: Any) -> Any:
        return _dense(hidden, *self._head_weights())

    def _head_weights(self) -> tuple[Any, Any]:
        kernel = tf.transpose(self.embedding.embeddings.value) if self.head_kernel is None else self.head_kernel.value
        return kernel, self.head_bias.value

    def named_variables(self) -> dict[str, Any]:
        named = {} if self.embedding is None else {"embedding": self.embedding.embeddings}
        for index, layer in enumerate(self.recurrent):
            named[f"layers.{index}.kernel"] = layer.cell.kernel
            named[f"layers.{index}.recurrent_kernel"] = layer.cell.recurrent_kernel
            named[f"layers.{index}.bias"] = layer.cell.bias
        if self.head_kernel is not None:
            named["head.kernel"] = self.head_kernel
        return named | {"head.bias": self.head_bias}

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        tensors = super().tensors()
        if self.head_kernel is None:
            tensors["head.kernel"] = np.ascontiguousarray(tensors["embedding"].T)
        return tensors


def _dense(inputs: Any, kernel: Any, bias: Any, dtype: str = "float32") -> Any:
    """``[..., I]`` → ``[..., N]``, as one product, computed in ``dtype``."""
    rows = tf.reshape(inputs, [-1, inputs.shape[-1]])
    flat = tf.nn.bias_add(tf.cast(tf.matmul(tf.cast(rows, dtype), tf.cast(kernel, dtype)), inputs.dtype), bias)
    return tf.reshape(flat, tf.concat([tf.shape(inputs)[:-1], [kernel.shape[1]]], 0))


def _drop(values: Any, share: float, seed: Any, stream: int) -> Any:
    """Dropout decided by a seed and the number of a stream; without a seed, nothing is dropped."""
    if seed is None or not share:
        return values
    return tf.nn.experimental.stateless_dropout(values, share, tf.random.experimental.stateless_fold_in(seed, stream))


def _after(states: Any, lengths: Any) -> Any:
    """Each row's state after its last id: ``[time + 1, batch, U]`` → ``[batch, U]``."""
    if lengths is None:
        return states[-1]
    return tf.gather_nd(states, tf.stack([lengths, tf.range(tf.shape(states)[1])], 1))
