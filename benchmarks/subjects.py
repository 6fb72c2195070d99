"""The models whose speed is measured: those of the recipes, which the sources' programs have too, and a deeper one."""

from __future__ import annotations

import string
from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Subject:
    """A recurrent model, and how it writes.

    Attributes:
        title: for tables.
        cell: of the layer.
        units: width of the state.
        embedding_dim: width of the embedding; ``None`` for one-hot input.
        characters: that the corpus has.
        vocab_size: the tokenizer's, special ids included.
        layout: of the corpus ``file``.
        tokenizer: by registered name.
        temperature: of sampling.
        prompt: what a text goes on from.
        length: characters of a text.
        layers: recurrent layers, one upon the other.
        source: what the program is called that writes with such a model in Keras.
    """

    title: str
    cell: Literal["gru", "lstm"]
    units: int
    embedding_dim: int | None
    characters: str
    vocab_size: int
    layout: Literal["stream", "lines"]
    tokenizer: str
    temperature: float
    prompt: str
    length: int
    layers: int = 1
    source: str = "the source's loop"

    @property
    def shape(self) -> dict[str, Any]:
        """What the peers need to know of the model."""
        return {
            "cell": self.cell,
            "vocab_size": self.vocab_size,
            "embedding_dim": self.embedding_dim,
            "units": self.units,
            "layers": self.layers,
        }


#: Recipe ``shakespeare-gru``; the 65 characters of tiny Shakespeare, and ``[UNK]``.
GRU_1024 = Subject(
    title="GRU 1024, V = 66",
    cell="gru",
    units=1024,
    embedding_dim=256,
    characters=string.ascii_letters + "\n !$&',-.3:;?",
    vocab_size=66,
    layout="stream",
    tokenizer="string-lookup",
    temperature=1.0,
    prompt="ROMEO:",
    length=1000,
)

#: Recipe ``agnews-lstm``; as many characters as the titles of AG News have, padding, and the end of a title.
LSTM_128 = Subject(
    title="LSTM 128, V = 84",
    cell="lstm",
    units=128,
    embedding_dim=None,
    characters=string.ascii_letters + string.digits + " !\"#$&'()*,-./:;=?\\_",
    vocab_size=84,
    layout="lines",
    tokenizer="char-eos",
    temperature=0.7,
    prompt="The ",
    length=200,
)

#: Two layers, the depth that char-rnn made common; no recipe has it, so its Keras loop is that of the tutorial.
LSTM_512_X2 = replace(
    GRU_1024, title="LSTM 512×2, V = 66", cell="lstm", units=512, layers=2, source="the tutorial's loop"
)

SUBJECTS = (GRU_1024, LSTM_128, LSTM_512_X2)
