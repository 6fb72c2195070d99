"""Counts of a training text by its parts."""

from __future__ import annotations

import numpy as np

from textgen.ngrams.counts import Codes, NGramCounts
from textgen.text.batches import PARTS, Batch, Dataset


def count_parts(dataset: Dataset, order: int, vocab_size: int) -> list[NGramCounts]:
    """Counts the n-grams of a training text, of each part by itself; see :attr:`textgen.Batch.parts`.

    Args:
        dataset: the first epoch is read.
        order: the length of an n-gram, or the largest that the vocabulary allows, if that is less.
        vocab_size: the number of ids.
    """
    order = min(order, largest_order(vocab_size))
    counts = [NGramCounts(order, vocab_size) for _ in range(PARTS)]
    before: Codes | None = None
    for batch in dataset.train.batches(epoch=0):
        if before is None or not dataset.carries_state or batch.resets_state or len(before) != len(batch.inputs):
            before = np.zeros(len(batch.inputs), np.int64)
        read, before = read_codes(before, batch, counts[0].base, order)
        is_target = batch.weights > 0
        codes = (read * counts[0].base + batch.targets + 1)[is_target]
        parts = np.zeros(is_target.shape, np.uint8) if batch.parts is None else batch.parts
        for number, part in enumerate(counts):
            part.add(codes[parts[is_target] == number])
    return counts


def read_codes(before: Codes, batch: Batch, base: int, order: int) -> tuple[Codes, Codes]:
    """The last n - 1 digits before each target, ``[batch, time]``, and after each row, ``[batch]``.

    Args:
        before: the last n - 1 digits before each row, ``[batch]`` int64.
        batch: padding is not read.
        base: the number of ids plus 1.
        order: the length n of an n-gram.
    """
    read = np.empty((len(before), batch.inputs.shape[1] + 1), np.int64)
    read[:, 0] = before
    for position in range(batch.inputs.shape[1]):
        read[:, position + 1] = (read[:, position] * base + batch.inputs[:, position] + 1) % base ** (order - 1)
    lengths = batch.lengths()
    last = read[:, -1] if lengths is None else read[np.arange(len(read)), lengths]
    return read[:, 1:], last


def largest_order(vocab_size: int) -> int:
    """The largest n for which the code of an n-gram fits 63 bits."""
    order = 1
    while (vocab_size + 1) ** (order + 1) < 2**63:
        order += 1
    return order
