"""The network as a ``keras.Model``. Importing this module imports TensorFlow: see :func:`require_tensorflow`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from textgen.model import Tensors
from textgen.network import Cell

_LAYERS: dict[Cell, Any] = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}

#: The signature of ids and of lengths in :func:`compiled` functions.
IDS = tf.TensorSpec([None, None], tf.int32)
LENGTHS = tf.TensorSpec([None], tf.int32)


def compiled(function: Callable[..., Any], *signature: Any) -> Callable[..., Any]:
    """Turn a function of tensors into a graph that serves any batch and time.

    It is traced at most twice: with ``lengths`` of ragged rows, and without, since masks cost time.

    Args:
        function: takes the tensors of the signature and, as the last argument, ``lengths`` or ``None``.
        signature: tensor specifications.
    """
    whole = tf.function(function, input_signature=signature, autograph=False)
    ragged = tf.function(function, input_signature=(*signature, LENGTHS), autograph=False)

    def call(*tensors: Any, lengths: NDArray[np.int32] | None = None) -> Any:
        return whole(*tensors) if lengths is None else ragged(*tensors, lengths)

    return call


class KerasNetwork(keras.Model):  # type: ignore[misc]  # keras has no types
    """Input (embedding or one-hot) → recurrent layers, each followed by dropout → dense logits.

    The layers are Keras's own with their default initialisers, drawn from the seed alone.

    Args:
        cell: ``"gru"`` or ``"lstm"``.
        vocab_size: the number V of ids.
        embedding_dim: width of the embedding; ``None`` for one-hot input.
        units: width U of each layer's state.
        layers: recurrent layers.
        dropout: share of each layer's outputs that is left out where a dropout seed is given.
        seed: of the initial weights.
    """

    def __init__(
        self,
        cell: Cell,
        *,
        vocab_size: int,
        embedding_dim: int | None,
        units: int,
        layers: int,
        dropout: float,
        seed: int,
    ) -> None:
        super().__init__(name=cell)
        seeds = iter(np.random.SeedSequence(seed).generate_state(2 * layers + 2).tolist())
        self.vocab_size = vocab_size
        self.units = units
        self.dropout = dropout
        self.embedding = None
        if embedding_dim is not None:
            uniform = keras.initializers.RandomUniform(seed=next(seeds))
            self.embedding = keras.layers.Embedding(vocab_size, embedding_dim, uniform, name="embedding")
            self.embedding.build()
        width = embedding_dim or vocab_size
        self.recurrent = []
        for index in range(layers):
            layer = _LAYERS[cell](
                units,
                kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
                recurrent_initializer=keras.initializers.Orthogonal(seed=next(seeds)),
                return_sequences=True,
                return_state=True,
                seed=0,  # of no use here; without one Keras draws it from Python's global generator
                name=f"layers_{index}",
            )
            layer.build((None, None, width))
            self.recurrent.append(layer)
            width = units
        glorot = keras.initializers.GlorotUniform(seed=next(seeds))
        self.head = keras.layers.Dense(vocab_size, kernel_initializer=glorot, name="head")
        self.head.build((None, None, units))
        self.built = True
        self.parts = 2 if cell == "lstm" else 1
        #: The signature of a state in :func:`compiled` functions.
        self.state_signature = [tf.TensorSpec([None, units], tf.float32)] * (layers * self.parts)
        self._predict = compiled(self, IDS, self.state_signature)

    def call(self, ids: Any, state: Any, lengths: Any = None, dropout_seed: Any = None) -> tuple[Any, list[Any]]:
        """Read ids and predict the next one at each position.

        Args:
            ids: ``[batch, time]`` int32, rows padded on the right.
            state: a list of ``[batch, U]`` float32: for each layer h and, for an LSTM, c.
            lengths: ``[batch]`` int32, ids that count in each row; ``None`` for all.
            dropout_seed: ``[2]`` int64 decides what is left out; ``None`` leaves out nothing.

        Returns:
            Logits ``[batch, time, V]`` float32, and each row's state after its last id.
        """
        # cuDNN refuses a row without any id: read one, and keep the state that was there.
        mask = None if lengths is None else tf.sequence_mask(tf.maximum(lengths, 1), tf.shape(ids)[1])
        hidden = tf.one_hot(ids, self.vocab_size) if self.embedding is None else self.embedding(ids)
        after: list[Any] = []
        for index, layer in enumerate(self.recurrent):
            before = state[len(after) : len(after) + self.parts]
            hidden, *new = layer(hidden, initial_state=before, mask=mask)
            if lengths is not None:
                new = [tf.where(lengths[:, None] > 0, now, then) for now, then in zip(new, before, strict=True)]
            after += new
            if dropout_seed is not None and self.dropout:
                key = tf.random.experimental.stateless_fold_in(dropout_seed, index)
                hidden = tf.nn.experimental.stateless_dropout(hidden, self.dropout, key)
        return self.head(hidden), after

    def predict_next(
        self, ids: NDArray[np.int32], state: Sequence[NDArray[np.float32]], lengths: NDArray[np.int32] | None = None
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """:meth:`call` without dropout, from NumPy arrays to NumPy arrays."""
        if not ids.shape[1]:
            return np.empty((*ids.shape, self.vocab_size), np.float32), list(state)
        logits, after = self._predict(
            tf.constant(ids, tf.int32), [tf.constant(part) for part in state], lengths=lengths
        )
        return logits.numpy(), [part.numpy() for part in after]

    def zero_state(self, batch: int) -> list[Any]:
        """The state before the first id, for a batch of rows."""
        return [tf.zeros([batch, self.units])] * len(self.state_signature)

    def named_variables(self) -> dict[str, Any]:
        """The weights' variables, by the names of :meth:`textgen.network.RecurrentNetwork.tensors`."""
        named = {} if self.embedding is None else {"embedding": self.embedding.embeddings}
        for index, layer in enumerate(self.recurrent):
            named[f"layers.{index}.kernel"] = layer.cell.kernel
            named[f"layers.{index}.recurrent_kernel"] = layer.cell.recurrent_kernel
            named[f"layers.{index}.bias"] = layer.cell.bias
        return named | {"head.kernel": self.head.kernel, "head.bias": self.head.bias}

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """A copy of the weights by name."""
        return {name: variable.value.numpy() for name, variable in self.named_variables().items()}

    def set_tensors(self, tensors: Tensors) -> None:
        """Take weights by name; their names and shapes must be those of :meth:`named_variables`."""
        for name, variable in self.named_variables().items():
            variable.assign(tensors[name])
