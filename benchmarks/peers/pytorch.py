"""The writing loop of a PyTorch user: one step of ``nn.GRU`` or ``nn.LSTM`` per call, ``torch.multinomial``.

It follows PyTorch's own word-level language model (pytorch/examples, ``word_language_model/generate.py``), which feeds
the drawn id and the state back from Python.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from benchmarks.harness import Work, fastest
from benchmarks.machine import usable_cores


class Network(nn.Module):
    """Embedding or one-hot → recurrent layers → logits.

    Args:
        cell: ``"gru"`` or ``"lstm"``.
        vocab_size: the number V of ids.
        embedding_dim: width of the embedding; ``None`` for one-hot input.
        units: width U of each layer's state.
        layers: number of recurrent layers.
    """

    def __init__(
        self, cell: Literal["gru", "lstm"], vocab_size: int, embedding_dim: int | None, units: int, layers: int
    ) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.embedding = None if embedding_dim is None else nn.Embedding(vocab_size, embedding_dim)
        kind = nn.GRU if cell == "gru" else nn.LSTM
        self.recurrent = kind(embedding_dim or vocab_size, units, layers)
        self.head = nn.Linear(units, vocab_size)

    def forward(self, ids: torch.Tensor, state: Any) -> tuple[torch.Tensor, Any]:
        """Ids ``[batch]`` and the state before them → logits ``[batch, V]`` and the state after them."""
        one_hot = nn.functional.one_hot
        values = one_hot(ids, self.vocab_size).float() if self.embedding is None else self.embedding(ids)
        hidden, state = self.recurrent(values[None], state)
        return self.head(hidden[0]), state


def make(
    *,
    cell: Literal["gru", "lstm"],
    vocab_size: int,
    embedding_dim: int | None,
    units: int,
    layers: int,
    temperature: float,
    batch: int,
    length: int,
    device: str,
) -> Work:
    """The loop over random weights; a piece is ``batch`` texts of ``length`` characters.

    On the CPU it uses one thread or one per core, whichever is faster; textgen makes the same choice.

    Args:
        cell: see :class:`Network`, as for the next four.
        vocab_size: see ``cell``.
        embedding_dim: see ``cell``.
        units: see ``cell``.
        layers: see ``cell``.
        temperature: of sampling.
        batch: texts at once.
        length: characters per text.
        device: ``"cpu"`` or ``"cuda"``.
    """
    network = Network(cell, vocab_size, embedding_dim, units, layers).to(device).eval()

    @torch.inference_mode()
    def write(length: int = length) -> int:
        ids, state, text = torch.zeros(batch, dtype=torch.int64, device=device), None, []
        for _ in range(length):
            logits, state = network(ids, state)
            ids = torch.multinomial(torch.softmax(logits / temperature, dim=1), 1)[:, 0]
            text.append(ids)
        torch.stack(text).cpu().numpy()
        return batch * length

    return Work(write, _fastest_threads(write, max(4, 512 // max(batch, 16))) if device == "cpu" else "")


def _fastest_threads(write: Callable[[int], int], steps: int) -> str:
    """Sets the number of threads that writes texts of ``steps`` steps fastest, and returns it as a note."""

    def write_with(threads: int) -> None:
        torch.set_num_threads(threads)
        write(steps)

    best = fastest({threads: partial(write_with, threads) for threads in {1, usable_cores()}}, tries=10)
    torch.set_num_threads(best)
    return f"threads: {best}"
