"""The head and what training makes small, for a CPU. Imports TensorFlow: see :func:`require_tensorflow`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from textgen_keras.libraries import import_compiled
from textgen_keras.network.compiled import call


@tf.custom_gradient  # type: ignore[untyped-decorator]
def head_cross_entropy(hidden: Any, kernel: Any, bias: Any, targets: Any, weights: Any) -> Any:
    """The weighted sum of the cross-entropy of targets with the softmax of ``hidden @ kernel + bias``, in nats.

    Args:
        hidden: ``[time, batch, U]`` float32.
        kernel: ``[U, V]``.
        bias: ``[V]``.
        targets: ``[batch, time]`` int32, below V.
        weights: ``[batch, time]``, through which no gradient flows.

    Returns:
        A scalar.
    """
    shapes = [[], hidden.shape, kernel.shape, bias.shape]
    function = import_compiled("compiled_head").cross_entropy
    nats, *slopes = call(function, [hidden, kernel, bias, targets, weights], shapes)
    return nats, lambda upstream: (*(upstream * slope for slope in slopes), None, None)
