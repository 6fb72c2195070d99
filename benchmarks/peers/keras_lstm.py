"""The writing loop of the AG News program, the source of the recipe ``agnews-lstm``.

One-hot → LSTM 128 → softmax. For each character, the whole prefix is encoded and read again by an eager call of the
model. NumPy applies the temperature to the last distribution and draws from it, in float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Work


def make(*, characters: str, units: int, temperature: float, length: int, written: int, device: str) -> Work:
    """The loop over random weights.

    The time of a character is proportional to the length of its prefix, so the mean over a text is the time of the
    characters in its middle: a piece writes ``written`` of those instead of the whole text.

    Args:
        characters: of the vocabulary, without padding and end.
        units: width of the state.
        temperature: of sampling.
        length: characters of the text in the middle of which a piece writes.
        written: characters per piece.
        device: ``"cpu"``, or ``"cuda"``, for which TensorFlow must find a GPU.
    """
    import keras

    from benchmarks.peers.tensorflow_device import require_device

    require_device(device)
    ids_of = {character: index for index, character in enumerate(sorted(characters), start=1)}
    characters_of = ["", *sorted(characters), "\n"]
    vocab_size = len(characters_of)
    model = keras.Sequential(
        [
            keras.Input((None, vocab_size)),
            keras.layers.LSTM(units, return_sequences=True),
            keras.layers.Dense(vocab_size, activation="softmax"),
        ]
    )
    generator = np.random.default_rng(0)
    half = "".join(generator.choice(list(characters), (length - written) // 2))

    def draw(probabilities: NDArray[np.float32]) -> int:
        logits = np.log(probabilities.astype(np.float64)) / temperature
        weights = np.exp(logits)
        return int(np.argmax(generator.multinomial(1, weights / weights.sum())))

    def write() -> int:
        text = half
        for _ in range(written):
            encoded = np.zeros((1, len(text), vocab_size), np.float32)
            encoded[0, np.arange(len(text)), [ids_of.get(character, 0) for character in text]] = 1
            probabilities = model(encoded).numpy()[0, -1]
            text += characters_of[draw(probabilities)] or " "
        return written

    return Work(write)
