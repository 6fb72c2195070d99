"""The training of the TensorFlow tutorial "Text generation with an RNN" (tensorflow.org/text/tutorials).

It is the source of the recipe ``shakespeare-gru``: windows of 101 characters, shuffled through a buffer of 10,000, in
batches of 64; Embedding 256 → GRU 1024 → Dense; Keras's Adam with its defaults; Keras's ``fit``.
"""

from __future__ import annotations

from typing import Any

from benchmarks.learners import Recorder

WINDOW, BATCH, BUFFER = 101, 64, 10_000
EMBEDDING_DIM, UNITS = 256, 1024

#: The number of times that the model is scored per epoch.
SCORES = 4


def learn(recorder: Recorder, *, epochs: int) -> None:
    """Trains on the text that textgen does not hold out by default, and scores on the held-out rest.

    The held-out text is read with the state carried from beginning to end, as the program carries it when it writes.
    """
    import keras
    import tensorflow as tf

    from textgen.plugins.registry import plugins
    from textgen.text.batches import Lanes
    from textgen.training.plan import make_plan

    plan = make_plan({"corpus": {"name": "shakespeare"}, "tokenizer": {"name": "string-lookup"}}, plugins())
    train, held_out, vocab_size = plan.dataset.train, plan.dataset.held_out, plan.tokenizer.vocab_size
    assert isinstance(train, Lanes)
    assert held_out is not None
    embedding = keras.layers.Embedding(vocab_size, EMBEDDING_DIM)
    recurrent = keras.layers.GRU(UNITS, return_sequences=True, return_state=True)
    head = keras.layers.Dense(vocab_size)
    ids = keras.Input((None,), dtype="int32")
    model = keras.Model(ids, head(recurrent(embedding(ids))[0]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=False)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def read(inputs: Any, targets: Any, state: Any) -> tuple[Any, Any]:
        hidden, state = recurrent(embedding(inputs), initial_state=state)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(targets, head(hidden)), state

    def held_out_loss() -> float:
        nats = characters = 0.0
        state = None
        for batch in held_out.batches(epoch=0):
            rows = tf.zeros([len(batch.inputs), UNITS]) if state is None else state
            lost, state = read(batch.inputs, batch.targets, rows)
            nats += float(tf.reduce_sum(lost * batch.weights))
            characters += float(batch.weights.sum())
        return nats / characters

    every = max(1, len(train.text.ids) // WINDOW // BATCH // SCORES)

    def score(batch: int, logs: Any = None) -> None:
        if (batch + 1) % every == 0:
            with recorder.aside():
                nats = held_out_loss()
            recorder.note(nats)

    text = tf.data.Dataset.from_tensor_slices(train.text.ids.astype("int32"))
    windows = text.batch(WINDOW, drop_remainder=True).map(lambda window: (window[:-1], window[1:]))
    data = windows.shuffle(BUFFER).batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=score)
    model.fit(data, epochs=epochs, verbose=0, callbacks=[callback])
