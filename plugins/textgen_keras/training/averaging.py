"""The moving average of weights (Polyak & Juditsky 1992).

Importing this module imports TensorFlow: see :func:`require_tensorflow`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from numpy.typing import NDArray


class WeightAverage:
    """An exponential moving average of variables, which can replace their values.

    Args:
        variables: ``keras.Variable`` objects by name.
        decay: share of the average that is kept at each batch; with 0 nothing is averaged, and the variables stay as
            they are.
    """

    def __init__(self, variables: Mapping[str, Any], decay: float) -> None:
        self._variables = variables
        self._decay = decay
        self._trained: dict[str, NDArray[Any]] | None = None
        #: The averages by name; empty if nothing is averaged.
        self.values = {name: tf.Variable(v.value, trainable=False) for name, v in variables.items() if decay}

    def update(self, step: Any) -> None:
        """Add the variables' present values to the averages; called within a graph.

        Args:
            step: a scalar, the number n of batches before this one. The decay of a young average is at most
                ``(1 + n) / (10 + n)``, so that it soon forgets the initial weights.
        """
        if not self.values:
            return
        n = tf.cast(step, tf.float32)
        decay = tf.minimum(self._decay, (1 + n) / (10 + n))
        for name, average in self.values.items():
            average.assign_add((1 - decay) * (self._variables[name].value - average))

    def trained(self) -> dict[str, NDArray[Any]]:
        """The weights that training changes, even while the averages are in their place."""
        return self._trained or {name: variable.value.numpy() for name, variable in self._variables.items()}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """A context in which the variables hold the averages."""
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
