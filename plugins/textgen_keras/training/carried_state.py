"""The gradient loop. Importing this module imports TensorFlow: see :func:`require_tensorflow`."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from textgen import Batch
from textgen_keras.stateful_network import StatefulNetwork
from textgen_keras.training.workers import Workers


class CarriedState:
    """The state that a batch starts with: the one that the batch before it left, or the initial one.

    Attributes:
        tensors: what the last batch left of this worker's rows; ``None`` before the first one.
    """

    def __init__(self, network: StatefulNetwork, carries: bool, workers: Workers) -> None:
        self._network, self._carries, self._workers = network, carries, workers
        self._rows = 0
        self.tensors: list[Any] | None = None

    def before(self, batch: Batch) -> list[Any]:
        """What to start this worker's rows with; a batch of other rows than the last starts anew."""
        rows = len(batch.inputs)
        if not self._carries or batch.resets_state or self.tensors is None or self._rows != rows:
            self._rows = rows
            self.tensors = self._network.initial_state(len(self._workers.share(batch.inputs)))
        return self.tensors

    def lengths(self, batch: Batch) -> NDArray[np.int32] | None:
        """Ids to read of this worker's rows: a state that is not carried may read padding, and faster."""
        # Decided by all rows, so that all workers run the same graph.
        lengths = batch.lengths() if self._carries else None
        return None if lengths is None else self._workers.share(lengths)

    def to_arrays(self) -> list[NDArray[Any]]:
        """The state of all rows, ``[rows, ...]`` each; none before the first batch."""
        return [self._workers.gather(tensor.numpy(), self._rows) for tensor in self.tensors or []]

    def take(self, arrays: list[NDArray[Any]]) -> None:
        """Go on from what :meth:`to_arrays` gave, among any number of workers."""
        self._rows = len(arrays[0])
        self.tensors = [tf.constant(self._workers.share(array)) for array in arrays]
