"""The training step of a PyTorch user: ``nn.GRU`` or ``nn.LSTM``, ``nn.Linear``, Adam.

It follows PyTorch's own word-level language model (pytorch/examples, ``word_language_model/main.py``), with Adam.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from benchmarks.harness import Work
from benchmarks.machine import usable_cores


def make(
    *,
    cell: Literal["gru", "lstm"],
    vocab_size: int,
    embedding_dim: int | None,
    units: int,
    layers: int,
    batch: int,
    length: int,
    device: str,
) -> Work:
    """A piece is one step on random text, counted as one item.

    Args:
        cell: of the layer.
        vocab_size: ids.
        embedding_dim: width of the embedding; ``None`` for one-hot input.
        units: width of each layer's state.
        layers: number of recurrent layers.
        batch: rows.
        length: characters per row.
        device: ``"cpu"`` or ``"cuda"``.
    """
    torch.set_num_threads(usable_cores())
    width = embedding_dim or vocab_size
    embedding = nn.Embedding(vocab_size, width).to(device)
    recurrent = (nn.GRU if cell == "gru" else nn.LSTM)(width, units, layers).to(device)
    head = nn.Linear(units, vocab_size).to(device)
    learned = [*recurrent.parameters(), *head.parameters(), *(embedding.parameters() if embedding_dim else [])]
    optimizer = torch.optim.Adam(learned, lr=1e-3)
    text = torch.randint(0, vocab_size, (length + 1, batch), device=device)

    def piece() -> int:
        optimizer.zero_grad(set_to_none=True)
        inputs = embedding(text[:-1]) if embedding_dim else nn.functional.one_hot(text[:-1], vocab_size).float()
        logits = head(recurrent(inputs)[0])
        loss = nn.functional.cross_entropy(logits.reshape(-1, vocab_size), text[1:].reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        loss.item()
        return 1

    return Work(piece, f"threads: {usable_cores()}" if device == "cpu" else "")
