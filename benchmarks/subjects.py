"""The models whose speed is measured: those of two recipes, as in the original programs, and a deeper one."""

from __future__ import annotations

import string
from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Subject:
    """A recurrent model, and the settings with which it writes.

    Attributes:
        title: for tables.
        cell: of the layer.
        units: width of the state.
        embedding_dim: width of the embedding; ``None`` for one-hot input.
        characters: of the corpus.
        vocab_size: of the tokenizer, including special ids.
        layout: of the corpus ``file``.
        tokenizer: by registered name.
        temperature: of sampling.
        prompt: the beginning of each text.
        length: characters per text.
        layers: number of recurrent layers.
        source: name of the Keras program that writes with such a model.
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
    source: str = "the original loop"

    @property
    def shape(self) -> dict[str, Any]:
        """The description of the model for the peers."""
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

#: Recipe ``agnews-lstm``; the same number of characters as in AG News titles, padding, and the end of a title.
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

#: Two layers, the depth that char-rnn made common. No recipe has it, so its Keras loop is that of the tutorial.
LSTM_512_X2 = replace(
    GRU_1024, title="LSTM 512×2, V = 66", cell="lstm", units=512, layers=2, source="the tutorial's loop"
)

SUBJECTS = (GRU_1024, LSTM_128, LSTM_512_X2)
