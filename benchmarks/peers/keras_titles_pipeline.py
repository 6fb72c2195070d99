"""The input pipeline and the model behind recipe `agnews-lstm`, as that program has them.

Titles go one by one through ``tf.py_function`` into one-hot rows, are padded to batches of 8, and Keras's ``fit``
trains on one-hot labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import Work

BATCH, BATCHES = 8, 50


def make() -> Work:
    """A piece is 50 batches of 8 titles; an item is a title."""
    import keras
    import tensorflow as tf

    from textgen.plan import make_plan
    from textgen.plugins import plugins

    plan = make_plan(
        plugins().get("recipe", "agnews-lstm") | {"corpus": {"name": "agnews", "split": "test"}}, plugins()
    )
    titles, vocab = list(plan.corpus.documents()), plan.tokenizer.vocab_size
    end = [plan.ending.end_id]

    def example(title: Any) -> tuple[Any, Any]:
        ids = np.concatenate([plan.tokenizer.encode(title.numpy().decode()), end])
        rows = np.eye(vocab, dtype=np.float32)[ids]
        return rows[:-1], rows[1:]

    def mapped(title: Any) -> tuple[Any, Any]:
        inputs, targets = tf.py_function(example, [title], [tf.float32, tf.float32])
        inputs.set_shape([None, vocab])
        targets.set_shape([None, vocab])
        return inputs, targets

    data = tf.data.Dataset.from_tensor_slices(titles).shuffle(len(titles)).map(mapped).padded_batch(BATCH).prefetch(1)
    model = keras.Sequential(
        [
            keras.Input((None, vocab)),
            keras.layers.LSTM(128, return_sequences=True),
            keras.layers.Dense(vocab, activation="softmax"),
        ]
    )
    model.compile("adam", "categorical_crossentropy", jit_compile=False)

    def piece() -> int:
        model.fit(data.repeat(), steps_per_epoch=BATCHES, epochs=1, verbose=0)
        return BATCH * BATCHES

    return Work(piece, f"batch {BATCH}")
