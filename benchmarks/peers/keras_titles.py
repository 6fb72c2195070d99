"""The training of the program behind recipe `agnews-lstm`: one-hot titles, padded, Keras `fit`.

One-hot labels of padding are all zeros, so padding adds nothing to the sum of the losses, but counts in the number by
which the sum is divided.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from textgen import Batch


def first_epoch_loss(batches: list[Batch], vocab_size: int) -> float:
    """Trains for an epoch and returns the loss that `fit` reports.

    Args:
        batches: of the recipe.
        vocab_size: number of ids, including padding.
    """
    import keras
    import tensorflow as tf

    def one_hot() -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        identity = np.eye(vocab_size, dtype=np.float32)
        for batch in batches:
            yield identity[batch.inputs], identity[batch.targets] * batch.weights[:, :, None]

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((None, vocab_size)),
            keras.layers.LSTM(128, return_sequences=True),
            keras.layers.Dense(vocab_size, activation="softmax"),
        ]
    )
    model.compile("adam", "categorical_crossentropy", jit_compile=False)
    spec = tf.TensorSpec((None, None, vocab_size), tf.float32)
    data = tf.data.Dataset.from_generator(one_hot, output_signature=(spec, spec))
    history = model.fit(data.repeat(), steps_per_epoch=len(batches), epochs=1, shuffle=False, verbose=0)
    return float(history.history["loss"][0])
