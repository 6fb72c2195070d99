"""The shortest way from Keras to ONNX Runtime: tf2onnx's graph of one step, called from a loop in Python.

It follows the README of tf2onnx (github.com/onnx/tensorflow-onnx): ``from_function`` on a ``tf.function``, then an
``InferenceSession``. The state is an input and an output of the graph, and NumPy draws the character.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import numpy as np

from benchmarks.harness import Work, fastest
from benchmarks.machine import usable_cores

OPSET = 18


def make(
    *,
    cell: Literal["gru", "lstm"],
    vocab_size: int,
    embedding_dim: int | None,
    units: int,
    layers: int,
    temperature: float,
    length: int,
) -> Work:
    """The loop over random weights, on the CPU; a piece is one text of ``length`` characters.

    It uses one thread or one per core, whichever is faster; textgen makes the same choice.

    Args:
        cell: of the layers.
        vocab_size: ids.
        embedding_dim: width of the embedding; ``None`` for one-hot input.
        units: width of each layer's state.
        layers: number of recurrent layers.
        temperature: of sampling.
        length: characters per text.
    """
    import onnxruntime

    graph, state_names = _convert(cell, vocab_size, embedding_dim, units, layers)
    generator = np.random.default_rng(0)

    def write(session: Any, length: int) -> int:
        ids = np.zeros((1, 1), np.int64)
        states = [np.zeros((1, units), np.float32) for _ in state_names]
        for _ in range(length):
            logits, *states = session.run(None, {"ids": ids, **dict(zip(state_names, states, strict=True))})
            exponents = np.exp((logits[0, -1] - logits[0, -1].max()).astype(np.float64) / temperature)
            ids[0, 0] = generator.choice(vocab_size, p=exponents / exponents.sum())
        return length

    def open_session(threads: int) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    sessions = {threads: open_session(threads) for threads in {1, usable_cores()}}
    trials: dict[int, Callable[[], object]] = {n: partial(write, session, 32) for n, session in sessions.items()}
    best = fastest(trials, tries=10)
    session = sessions.pop(best)
    del sessions, trials
    return Work(lambda: write(session, length), f"threads: {best}")


def _convert(
    cell: Literal["gru", "lstm"], vocab_size: int, embedding_dim: int | None, units: int, layers: int
) -> tuple[bytes, list[str]]:
    """One step as a serialised graph, and the names of its states, which are inputs beside ``ids``."""
    import keras
    import tensorflow as tf
    import tf2onnx

    embedding = None if embedding_dim is None else keras.layers.Embedding(vocab_size, embedding_dim)
    kind = keras.layers.GRU if cell == "gru" else keras.layers.LSTM
    stack = [kind(units, return_sequences=True, return_state=True) for _ in range(layers)]
    head = keras.layers.Dense(vocab_size)
    parts = 1 if cell == "gru" else 2

    def step(ids: Any, *states: Any) -> list[Any]:
        hidden = tf.one_hot(ids, vocab_size) if embedding is None else embedding(ids)
        after: list[Any] = []
        for index, layer in enumerate(stack):
            hidden, *new = layer(hidden, initial_state=list(states[index * parts : (index + 1) * parts]))
            after += new
        return [head(hidden), *after]

    names = [f"state_{index}" for index in range(layers * parts)]
    signature = [  # dimensions are left open: with 1, tf2onnx does not recognise an LSTM
        tf.TensorSpec([None, None], tf.int64, name="ids"),
        *(tf.TensorSpec([None, units], tf.float32, name=name) for name in names),
    ]
    function = tf.function(step, input_signature=signature)
    model, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    return model.SerializeToString(), names
