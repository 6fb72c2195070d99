"""The input pipeline and the model of the program behind recipe `agnews-lstm`.

Titles become one-hot rows one by one in ``tf.py_function`` and are padded to batches of 8. Keras's ``fit`` trains on
one-hot labels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Work
from benchmarks.learners import Recorder

if TYPE_CHECKING:
    from textgen.training.plan import Plan

BATCH, BATCHES = 8, 50

#: The number of times that the model is scored during the epoch.
SCORES = 20

#: Share of the titles that textgen holds out by default.
HELD_OUT = 0.1


def make() -> Work:
    """A piece is 50 batches of 8 titles; an item is a title."""
    plan = _plan(held_out=0.0)
    titles = list(plan.text.corpus.documents())
    data, model = _pipeline(plan, titles).repeat(), _model(plan.tokenizer.vocab_size)

    def piece() -> int:
        model.fit(data, steps_per_epoch=BATCHES, epochs=1, verbose=0)
        return BATCH * BATCHES

    return Work(piece, f"batch {BATCH}")


def learn(recorder: Recorder, *, titles: int) -> None:
    """One epoch of ``titles`` titles: those that are not held out, repeated.

    The loss is that of the titles that textgen holds out by default, per character of text, without padding.
    """
    import keras
    import tensorflow as tf

    from textgen.text.encoded import draw_documents

    plan = _plan(held_out=HELD_OUT)
    documents = list(plan.text.corpus.documents())
    held_out = set(draw_documents(len(documents), plan.training.held_out, plan.training.seed).tolist())
    learned = [title for number, title in enumerate(documents) if number not in held_out]
    model = _model(plan.tokenizer.vocab_size)
    rows = tf.TensorSpec([None, None, plan.tokenizer.vocab_size])
    read = tf.function(partial(model, training=False), input_signature=[rows])
    every = max(1, titles // BATCH // SCORES)

    def score(batch: int, logs: Any = None) -> None:
        if (batch + 1) % every == 0:
            with recorder.aside():
                nats = _held_out_loss(read, plan)
            recorder.note(nats)

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=score)
    model.fit(_pipeline(plan, list(islice(cycle(learned), titles))), epochs=1, verbose=0, callbacks=[callback])


def _plan(held_out: float) -> Plan:
    from textgen.options import merge_settings
    from textgen.plugins.registry import plugins
    from textgen.training.plan import make_plan

    changes: dict[str, dict[str, Any]] = {"corpus": {"split": "test"}, "training": {"held_out": held_out}}
    return make_plan(merge_settings(plugins().get("recipe", "agnews-lstm"), changes), plugins())


def _pipeline(plan: Plan, titles: list[str]) -> Any:
    """Batches of one-hot inputs and labels."""
    import tensorflow as tf

    vocab, end = plan.tokenizer.vocab_size, [plan.text.boundaries.end_id]

    def example(title: Any) -> tuple[Any, Any]:
        ids = np.concatenate([plan.tokenizer.encode(title.numpy().decode()), end])
        rows = np.eye(vocab, dtype=np.float32)[ids]
        return rows[:-1], rows[1:]

    def mapped(title: Any) -> tuple[Any, Any]:
        inputs, targets = tf.py_function(example, [title], [tf.float32, tf.float32])
        inputs.set_shape([None, vocab])
        targets.set_shape([None, vocab])
        return inputs, targets

    data = tf.data.Dataset.from_tensor_slices(titles).shuffle(len(titles)).map(mapped)
    return data.padded_batch(BATCH).prefetch(1)


def _model(vocab: int) -> Any:
    import keras

    model = keras.Sequential(
        [
            keras.Input((None, vocab)),
            keras.layers.LSTM(128, return_sequences=True),
            keras.layers.Dense(vocab, activation="softmax"),
        ]
    )
    model.compile("adam", "categorical_crossentropy", jit_compile=False)
    return model


def _held_out_loss(read: Callable[[NDArray[np.float32]], Any], plan: Plan) -> float:
    """The held-out loss in nats per character, including the ends of titles."""
    assert plan.dataset.held_out is not None
    one_hot = np.eye(plan.tokenizer.vocab_size, dtype=np.float32)
    nats = characters = 0.0
    for batch in plan.dataset.held_out.batches(epoch=0):
        likely = read(one_hot[batch.inputs]).numpy()
        of_targets = np.take_along_axis(likely, batch.targets[..., None].astype(np.intp), axis=-1)[..., 0]
        nats -= float(np.sum(batch.weights * np.log(np.maximum(of_targets, 1e-30))))
        characters += float(batch.weights.sum())
    return nats / characters
