"""The recurrent state that is carried from batch to batch.

Importing this module imports TensorFlow: see :func:`require_tensorflow`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from textgen import Batch
from textgen.errors import ArtifactError
from textgen_keras.stateful_network import StatefulNetwork
from textgen_keras.training.workers import Workers


class CarriedState:
    """The state that a batch starts with: the state after the batch before it, or the initial state.

    Args:
        network: makes the initial state.
        carries: whether states are carried; if not, every batch starts with the initial state.
        workers: of whose rows this process has a share.

    Attributes:
        tensors: the state of this worker's rows after the last batch; ``None`` before the first batch.
    """

    def __init__(self, network: StatefulNetwork, carries: bool, workers: Workers) -> None:
        self._network, self._carries, self._workers = network, carries, workers
        self._rows = 0
        self.tensors: list[Any] | None = None

    def before(self, batch: Batch) -> list[Any]:
        """The state in which this worker's rows start; initial if the number of rows has changed."""
        if self.tensors is None or not batch.follows(self._rows, carries_state=self._carries):
            self._rows = len(batch.inputs)
            self.tensors = self._network.initial_state(len(self._workers.share(batch.inputs)))
        return self.tensors

    def reset(self, is_reset: NDArray[np.bool_]) -> None:
        """Give those rows the initial state, ``[rows]`` of all workers, for which it is true."""
        if self.tensors is None or self._rows != len(is_reset) or not is_reset.any():
            return
        own = self._workers.share(is_reset)
        initial = self._network.initial_state(len(own))
        self.tensors = [
            tf.where(own.reshape(-1, *[1] * (len(tensor.shape) - 1)), new, tensor)
            for new, tensor in zip(initial, self.tensors, strict=True)
        ]

    def lengths(self, batch: Batch) -> NDArray[np.int32] | None:
        """The number of ids to read in each of this worker's rows, ``[rows]``; ``None`` to read all.

        A state that is not carried may read padding, which is faster.
        """
        # Decided by the rows of all workers, so that all run the same graph.
        lengths = batch.lengths() if self._carries else None
        return None if lengths is None else self._workers.share(lengths)

    def to_arrays(self) -> list[NDArray[Any]]:
        """The state of the rows of all workers, ``[rows, ...]`` each; an empty list before the first batch."""
        return [self._workers.gather(tensor.numpy(), self._rows) for tensor in self.tensors or []]

    def take(self, arrays: list[NDArray[Any] | None]) -> None:
        """Continue from the result of :meth:`to_arrays`; the number of workers may have changed.

        Raises:
            ArtifactError: if it is not a state of the network; ``None`` stands for what is missing.
        """
        expected = [(tuple(tensor.shape[1:]), tensor.dtype.name) for tensor in self._network.initial_state(1)]
        found = [(array.shape[1:], array.dtype.name) for array in arrays if array is not None and array.ndim]
        whole = [array for array in arrays if array is not None]
        if found != expected or len(whole) < len(arrays) or len({len(array) for array in whole}) != 1:
            raise ArtifactError("the checkpoint's carried state is not one of this model")
        self._rows = len(whole[0])
        self.tensors = [tf.constant(self._workers.share(array)) for array in whole]
