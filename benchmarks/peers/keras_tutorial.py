"""The loop of the TensorFlow tutorial "Text generation with an RNN" (tensorflow.org/text/tutorials/text_generation).

It is the source of the recipe ``shakespeare-gru``: Embedding 256 → GRU 1024 → Dense. One step is a ``tf.function`` from
a character to the next (look-up, model, temperature, a mask that excludes ``[UNK]``, categorical draw, look-up back).
Python feeds the state back, with one call per character. Here the kind and number of recurrent layers may vary.
"""

from __future__ import annotations

from typing import Any, Literal

from benchmarks.harness import Work


def make(
    *,
    cell: Literal["gru", "lstm"],
    characters: str,
    embedding_dim: int,
    units: int,
    layers: int,
    temperature: float,
    prompt: str,
    length: int,
    device: str,
) -> Work:
    """The loop over random weights; a piece is one text of ``length`` characters.

    Args:
        cell: of the layers.
        characters: of the vocabulary, without ``[UNK]``.
        embedding_dim: width of the embedding.
        units: width of each layer's state.
        layers: number of recurrent layers.
        temperature: of sampling.
        prompt: the beginning of each text.
        length: characters per text.
        device: ``"cpu"``, or ``"cuda"``, for which TensorFlow must find a GPU.
    """
    import keras
    import tensorflow as tf

    from benchmarks.peers.tensorflow_device import require_device

    require_device(device)
    ids_of = keras.layers.StringLookup(vocabulary=sorted(characters), mask_token=None)
    characters_of = keras.layers.StringLookup(vocabulary=ids_of.get_vocabulary(), invert=True, mask_token=None)
    vocab_size = len(characters) + 1
    embedding = keras.layers.Embedding(vocab_size, embedding_dim)
    kind = keras.layers.GRU if cell == "gru" else keras.layers.LSTM
    stack = [kind(units, return_sequences=True, return_state=True) for _ in range(layers)]
    head = keras.layers.Dense(vocab_size)
    no_unknown = tf.constant([[float("-inf")] + [0.0] * len(characters)])

    @tf.function  # type: ignore[untyped-decorator]
    def step(text: Any, states: Any) -> tuple[Any, Any]:
        hidden, after = embedding(ids_of(tf.strings.unicode_split(text, "UTF-8")).to_tensor()), []
        for layer, state in zip(stack, states, strict=True):
            hidden, *state = layer(hidden, initial_state=state)  # noqa: PLW2901
            after.append(state)
        logits = head(hidden)[:, -1, :] / temperature + no_unknown
        drawn = tf.squeeze(tf.random.categorical(logits, num_samples=1), axis=-1)
        return characters_of(drawn), after

    def write() -> int:
        parts = 1 if cell == "gru" else 2
        character, states = tf.constant([prompt]), [[tf.zeros([1, units])] * parts for _ in stack]
        text = [character]
        for _ in range(length):
            character, states = step(character, states)
            text.append(character)
        tf.strings.join(text)[0].numpy().decode("utf-8")
        return length

    return Work(write)
