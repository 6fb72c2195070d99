"""Functions of NumPy arrays as parts of a graph. Imports TensorFlow: see :func:`require_tensorflow`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def call(function: Callable[..., Any], tensors: Sequence[Any], shapes: Sequence[Any]) -> list[Any]:
    """Call a function of arrays, on the CPU; no gradient flows through.

    Args:
        function: depends on its arguments alone, and returns a tuple of arrays of the first one's dtype.
        tensors: its arguments.
        shapes: of what it returns, ``None`` where a dimension is not known.
    """
    results = tf.numpy_function(function, tensors, [tensors[0].dtype] * len(shapes), stateful=False)
    return [tf.ensure_shape(result, shape) for result, shape in zip(results, shapes, strict=True)]
