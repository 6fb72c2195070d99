"""The base class of networks that the training loop and the runtime use, public for models of third parties.

Importing this module imports TensorFlow: a plugin does so only in :meth:`KerasModel.make_network`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from textgen import StateSpec, Tensors
from textgen_keras.libraries import usual_settings

#: The signatures of ids and of lengths in :func:`as_graph` functions.
IDS = tf.TensorSpec([None, None], tf.int32)
LENGTHS = tf.TensorSpec([None], tf.int32)


def as_graph(function: Callable[..., Any], *signature: Any) -> Callable[..., Any]:
    """Turn a function of tensors into a graph that serves any batch and time.

    It is traced twice, at the first call with ``lengths`` and at the first call without, because masks cost time.

    Args:
        function: takes the tensors of the signature and, if rows are ragged, ``lengths`` as the last argument.
        signature: tensor specifications, and lists and tuples of them.

    Returns:
        A function of tensors or arrays, as in the signature, and ``lengths``.
    """

    @cache
    def graph(*more: Any) -> Callable[..., Any]:
        arguments = [*signature, *more]

        def of_flat(*tensors: Any) -> Any:
            return function(*tf.nest.pack_sequence_as(arguments, tensors))

        # The arguments are flat: looking up a trace by nested lists takes longer than a step of a small network.
        whole = tf.function(of_flat, input_signature=tf.nest.flatten(arguments), autograph=False)
        with usual_settings():
            return whole.get_concrete_function()  # type: ignore[no-any-return]

    def call(*tensors: Any, lengths: NDArray[np.int32] | None = None) -> Any:
        if lengths is None:
            return graph()(*tf.nest.flatten(tensors))
        return graph(LENGTHS)(*tf.nest.flatten(tensors), lengths)

    return call


class StatefulNetwork(keras.Model):  # type: ignore[misc]  # keras has no types
    """A network that takes its state as an argument and returns the new one; it keeps nothing between calls.

    A subclass makes and builds its layers in ``__init__``, drawing their weights from a seed, and implements
    :meth:`call` and :meth:`named_variables`.

    Args:
        vocab_size: the number V of ids.
        state_spec: the tensors of the state.
        name: shown by Keras.
    """

    def __init__(self, vocab_size: int, state_spec: StateSpec, *, name: str | None = None) -> None:
        super().__init__(name=name)
        #: True, or Keras would try to build it from the shapes of the first call.
        self.built = True
        self.vocab_size = vocab_size
        #: The tensors of the network's own state; that of its model may have more.
        self.state_spec = state_spec
        #: The signature of a state in :func:`as_graph` functions.
        self.state_signature = [tf.TensorSpec([None, *t.shape], t.dtype) for t in state_spec.tensors]
        self._initial_values = [t.initial for t in state_spec.tensors]
        self._predict = as_graph(self, IDS, self.state_signature)
        self._initial_state = lru_cache(maxsize=8)(self._make_initial_state)

    def use_mixed_precision(self) -> None:
        """Let the layers multiply in bfloat16 from now on; their weights stay float32."""
        for layer in self._flatten_layers(include_self=False):
            layer.dtype_policy = keras.DTypePolicy("mixed_bfloat16")

    @abstractmethod
    def call(self, ids: Any, state: Any, lengths: Any = None, dropout_seed: Any = None) -> tuple[Any, list[Any]]:
        """Read ids and predict the next one at each position.

        Args:
            ids: ``[batch, time]`` int32, rows padded on the right.
            state: a list of the state's tensors, before the first id.
            lengths: ``[batch]`` int32, the number of ids that count in each row; ``None`` if all count.
            dropout_seed: ``[2]`` int64, the seed of dropout; ``None`` for no dropout.

        Returns:
            Logits ``[batch, time, V]`` float32 (meaningless at padding), and each row's state after its last id. The
            dtypes are the same under mixed precision.
        """

    def learn(self, ids: Any, state: Any, lengths: Any, dropout_seed: Any) -> tuple[Any, list[Any]]:
        """Return what :meth:`call` returns, possibly computed in a way that is faster to differentiate.

        :meth:`nats` calls it. No gradient needs to flow through the returned state.
        """
        return self(ids, state, lengths, dropout_seed)  # type: ignore[no-any-return]

    def nats(
        self, ids: Any, targets: Any, weights: Any, state: Any, lengths: Any, dropout_seed: Any
    ) -> tuple[Any, list[Any]]:
        """The loss of training: the weighted sum of the cross-entropy of the targets with the logits of :meth:`learn`.

        Args:
            ids: as for :meth:`call`.
            targets: ``[batch, time]`` int32, the id to predict at each position.
            weights: ``[batch, time]`` float32, 0 where a target does not count.
            state: as for :meth:`call`.
            lengths: as for :meth:`call`.
            dropout_seed: as for :meth:`call`.

        Returns:
            A scalar, in nats, and the state that :meth:`learn` returns.
        """
        logits, after = self.learn(ids, state, lengths, dropout_seed)
        return tf.reduce_sum(weights * tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)), after

    def log_probabilities(self, ids: Any, state: Any, lengths: Any) -> tuple[Any, list[Any]]:
        """The logarithms of the softmax of :meth:`learn`'s logits, without dropout, and the state after them."""
        logits, after = self.learn(ids, state, lengths, None)
        return tf.nn.log_softmax(logits), after

    @abstractmethod
    def named_variables(self) -> dict[str, Any]:
        """The weights' ``keras.Variable`` objects, by the names of :attr:`KerasModel.tensor_shapes`."""

    def predict_next(
        self, ids: NDArray[np.int32], state: Sequence[NDArray[Any]], lengths: NDArray[np.int32] | None = None
    ) -> tuple[NDArray[np.float32], list[NDArray[Any]]]:
        """:meth:`call` without dropout, from NumPy arrays to NumPy arrays."""
        if not ids.shape[1]:
            return np.empty((*ids.shape, self.vocab_size), np.float32), list(state)
        logits, after = self._predict(ids, list(state), lengths=lengths)
        return logits.numpy(), [part.numpy() for part in after]

    def initial_state(self, batch: int) -> list[Any]:
        """The state before the first id, for a batch of rows: a list of tensors."""
        return list(self._initial_state(int(batch)))

    def _make_initial_state(self, batch: int) -> list[Any]:
        with tf.init_scope():  # so that it can be used outside the graph that is being traced
            return [
                tf.constant(np.full([batch, *tensor.shape[1:]], value), tensor.dtype)
                for tensor, value in zip(self.state_signature, self._initial_values, strict=True)
            ]

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """A copy of the weights by name."""
        return {name: variable.value.numpy() for name, variable in self.named_variables().items()}

    def set_tensors(self, tensors: Tensors) -> None:
        """Assign the weights by name; names and shapes must be those of :meth:`named_variables`."""
        for name, variable in self.named_variables().items():
            variable.assign(tensors[name])
