"""The models whose speed is measured: those of the recipes, which the sources' programs have too."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Subject:
    """A model of one recurrent layer, and how it writes.

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
