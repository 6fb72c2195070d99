"""The optimizer that the training options name.

Importing this module imports TensorFlow: see :func:`require_tensorflow`.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from textgen_keras.training.options import GradientOptions


class _InOneOperation:
    """Adam's rule as one operation per variable; Keras has a dozen, each of which reads and writes the whole variable.

    In step t: ``m += (1 - b1) * (g - m)``, ``v += (1 - b2) * (g * g - v)``, and ``w -= lr * sqrt(1 - b2**t) /
    (1 - b1**t) * m / (sqrt(v) + epsilon)`` (Kingma & Ba 2015). Gradients must be dense; ``amsgrad`` is not supported.
    """

    def update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        m, v = (slots[index].value for slots in (self._momentums, self._velocities))
        step = tf.cast(self.iterations + 1, variable.dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=m.handle,
            v=v.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=tf.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


class Adam(_InOneOperation, keras.optimizers.Adam):  # type: ignore[misc]  # keras has no types
    """Adam without weight decay."""


class AdamW(_InOneOperation, keras.optimizers.AdamW):  # type: ignore[misc]
    """Adam after decoupled weight decay, ``w -= lr * decay * w`` (Loshchilov & Hutter 2019)."""


_OPTIMIZERS = {
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}


def make_optimizer(options: GradientOptions) -> Any:
    """The ``keras.optimizers.Optimizer`` of the options; all else has Keras's default values."""
    decay = {"weight_decay": options.weight_decay} if options.optimizer == "adamw" else {}
    return _OPTIMIZERS[options.optimizer](options.learning_rate, global_clipnorm=options.clip_norm, **decay)
