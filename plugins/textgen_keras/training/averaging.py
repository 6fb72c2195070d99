"""The moving average of weights (Polyak & Juditsky 1992). Imports TensorFlow: see :func:`require_tensorflow`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray


class WeightAverage:
    """An exponential moving average of variables, which can take their place.

    Args:
        variables: ``keras.Variable`` objects by name.
        decay: share of the average that a batch leaves; 0 averages nothing, and the variables stay as they are.
    """

    def __init__(self, variables: Mapping[str, Any], decay: float) -> None:
        self._variables = variables
        self._decay = decay
        self._trained: dict[str, NDArray[Any]] | None = None
        #: The averages by name; empty where nothing is averaged.
        self.values = {name: tf.Variable(v.value, trainable=False) for name, v in variables.items() if decay}

    def update(self, batches: Any) -> None:
        """Take the variables in; part of a graph.

        Args:
            batches: done before this one, a scalar: young averages forget faster, by ``(1 + n) / (10 + n)``.
        """
        if not self.values:
            return
        n = tf.cast(batches, tf.float32)
        decay = tf.minimum(self._decay, (1 + n) / (10 + n))
        for name, average in self.values.items():
            average.assign_add((1 - decay) * (self._variables[name].value - average))

    def trained(self) -> dict[str, NDArray[Any]]:
        """The weights that training changes, whether or not the averages are in their place."""
        return self._trained or {name: variable.value.numpy() for name, variable in self._variables.items()}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the variables hold the averages for a while."""
        if not self.values:
            yield
            return
        self._trained = trained = self.trained()
        self.put_in_place()
        try:
            yield
        finally:
            self._trained = None
            for name, variable in self._variables.items():
                variable.assign(trained[name])

    def put_in_place(self) -> None:
        """Let the variables hold the averages from now on."""
        for name, average in self.values.items():
            self._variables[name].assign(average.numpy())
