"""Counts of a training text."""

from __future__ import annotations

import numpy as np

from textgen.ngrams.counts import Codes, NGramCounts
from textgen.text.batches import Batch, Dataset


def count_text(dataset: Dataset, order: int, vocab_size: int) -> NGramCounts:
    """Counts the n-grams of a training text.

    Args:
        dataset: the first epoch is read.
        order: the length of an n-gram, or the largest that the vocabulary allows, if that is less.
        vocab_size: the number of ids.
    """
    counts = NGramCounts(min(order, largest_order(vocab_size)), vocab_size)
    before: Codes | None = None
    for batch in dataset.train.batches(epoch=0):
        if before is None or not dataset.carries_state or batch.resets_state or len(before) != len(batch.inputs):
            before = np.zeros(len(batch.inputs), np.int64)
        read, before = read_codes(before, batch, counts.base, counts.order)
        counts.add((read * counts.base + batch.targets + 1)[batch.weights > 0])
    counts.merge()
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
