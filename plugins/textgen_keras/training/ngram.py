"""The n-gram that a network is trained on top of: what it says is added to the logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from textgen import Batch, ContextTree
from textgen.errors import ArtifactError

Rows = NDArray[np.int32]


class NGram:
    """The tables of the trees that a text is read with, one below the other.

    A training text is read with trees that were not counted in what they predict: each part with one of its own.

    Args:
        trees: the tree of the whole text; then one per part, or no other, if none was counted in the training text.
    """

    def __init__(self, trees: Sequence[ContextTree]) -> None:
        self.tree = trees[0]
        self.has_parts = len(trees) > 1
        #: Where the contexts of each tree begin, and the end of the last.
        self.firsts = np.cumsum([0, *map(len, trees)]).astype(np.int32)
        #: What is added to the logits, ``[contexts, V]`` float32.
        self.table = np.concatenate([tree.logits for tree in trees])
        self.following = np.concatenate(
            [tree.following + first for tree, first in zip(trees, self.firsts, strict=False)]
        )


class CarriedContexts:
    """The contexts that batches are read in; they are carried from batch to batch as a state is.

    Args:
        ngram: the tables.
        carries: whether they are carried; if not, each batch begins with the beginning of a text.
        is_learning: whether a text is read that the trees were counted in.
    """

    def __init__(self, ngram: NGram, *, carries: bool, is_learning: bool) -> None:
        self._ngram, self._carries = ngram, carries
        self._has_parts = is_learning and ngram.has_parts
        #: The contexts after the last batch, ``[rows]``; ``None`` before the first.
        self.after: Rows | None = None

    def read(self, batch: Batch) -> Rows:
        """The row of the table that is added to each prediction, ``[batch, time]``."""
        ngram, ids = self._ngram, batch.inputs
        trees = np.zeros(ids.shape, np.uint8) if not self._has_parts or batch.parts is None else batch.parts + 1
        starts = ngram.firsts[trees]
        before = self.after
        if before is None or not self._carries or batch.resets_state or len(before) != len(ids):
            before = starts[:, 0] + np.int32(ContextTree.beginning)
        began = before
        is_steady = bool((trees == trees[:, :1]).all())
        rows = np.empty(ids.shape, np.int32)
        for position in range(ids.shape[1]):
            if position == 0 or not is_steady:  # another part: nothing is known of what came before
                is_other = (before < starts[:, position]) | (before >= ngram.firsts[trees[:, position] + 1])
                before = np.where(is_other, starts[:, position], before)
            before = rows[:, position] = ngram.following[before, ids[:, position]]
        lengths = batch.lengths()
        last = -1 if lengths is None else np.maximum(lengths, 1) - 1
        self.after = rows[np.arange(len(rows)), last]
        if lengths is not None:
            self.after = np.where(lengths > 0, self.after, began)
        return rows

    def reset(self, is_reset: NDArray[np.bool_]) -> None:
        """Begin those rows anew, ``[rows]``, for which it is true."""
        if self.after is not None and len(self.after) == len(is_reset):
            trees = np.searchsorted(self._ngram.firsts, self.after, "right") - 1
            self.after = np.where(is_reset, self._ngram.firsts[trees] + np.int32(ContextTree.beginning), self.after)

    def take(self, after: Rows) -> None:
        """Continue from what :attr:`after` was.

        Raises:
            ArtifactError: if these are no contexts of these trees.
        """
        contexts = len(self._ngram.table)
        if (after.dtype, after.ndim) != (np.int32, 1) or not 0 <= after.min() <= after.max() < contexts:
            raise ArtifactError("the checkpoint's contexts are not those of this model")
        self.after = after
