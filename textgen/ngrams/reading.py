"""Texts read by n-grams: a training text is counted, any text is read context by context."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from textgen.ngrams.context_tree import ContextTree, Ids
from textgen.ngrams.counts import Codes, NGramCounts
from textgen.text.batches import Batch, BatchPlan, Dataset


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
        read, before = read_codes(before, batch, counts, carries_state=dataset.carries_state)
        counts.add((read * counts.base + batch.targets + 1)[batch.weights > 0])
    counts.merge()
    return counts


def read_codes(before: Codes | None, batch: Batch, counts: NGramCounts, *, carries_state: bool) -> tuple[Codes, Codes]:
    """The last n - 1 digits before each target, ``[batch, time]`` int64, and after each row, ``[batch]`` int64.

    Args:
        before: those after each row of the batch before; ``None`` before the first batch.
        batch: padding is not read.
        counts: of the n-grams.
        carries_state: whether a row goes on where that of the batch before has ended.
    """
    base, order = counts.base, counts.order
    read = np.zeros((len(batch.inputs), batch.inputs.shape[1] + 1), np.int64)
    if before is not None and batch.follows(len(before), carries_state=carries_state):
        read[:, 0] = before
    for position in range(batch.inputs.shape[1]):
        read[:, position + 1] = (read[:, position] * base + batch.inputs[:, position] + 1) % base ** (order - 1)
    lengths = batch.lengths()
    last = read[:, -1] if lengths is None else read[np.arange(len(read)), lengths]
    return read[:, 1:], last


def read_contexts(tree: ContextTree, plan: BatchPlan, *, carries_state: bool) -> Iterator[tuple[Batch, Ids]]:
    """Yields the batches of a text, each with the contexts before its targets, ``[batch, time]`` int32.

    Args:
        tree: the n-gram.
        plan: the first epoch is read.
        carries_state: whether a row goes on where that of the batch before has ended.
    """
    after: Ids | None = None
    for batch in plan.batches(epoch=0):
        if after is None or not batch.follows(len(after), carries_state=carries_state):
            after = np.full(len(batch.inputs), tree.beginning, np.int32)
        contexts, after = tree.advance(batch.inputs, after, batch.lengths())
        yield batch, contexts


def largest_order(vocab_size: int) -> int:
    """The largest n for which the code of an n-gram fits 63 bits."""
    order = 1
    while (vocab_size + 1) ** (order + 1) < 2**63:
        order += 1
    return order
