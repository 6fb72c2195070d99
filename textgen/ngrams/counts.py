"""Counts of n-grams, each a number whose digits are its ids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]


class NGramCounts:
    """The n-grams of a text, and the number of occurrences of each.

    The code of an n-gram has n digits in base V + 1, the oldest first: an id plus 1, or 0 for a place before the
    beginning of the text.

    Args:
        order: the length n of an n-gram.
        vocab_size: the number V of ids; ``(V + 1) ** n`` must be below 2**63.

    Attributes:
        codes: ``[m]`` int64, sorted, each once.
        counts: the number of occurrences of each, ``[m]`` int64.
    """

    def __init__(self, order: int, vocab_size: int) -> None:
        self.order, self.base = order, vocab_size + 1
        self.codes, self.counts = np.empty(0, np.int64), np.empty(0, np.int64)
        self._new: list[Codes] = []
        self._waiting = 0

    def add(self, codes: Codes) -> None:
        """Count n-grams ``[k]``, in any order; one that occurs twice counts twice."""
        self._new.append(codes)
        self._waiting += len(codes)
        # Merged once there are as many new ones as old, so that the work grows with the text as sorting does.
        if self._waiting > len(self.codes):
            self.merge()

    def add_counted(self, codes: Codes, counts: Codes) -> None:
        """Add n-grams that are counted already, both ``[k]``."""
        self.merge()
        self.codes, self.counts = summed(np.concatenate([self.codes, codes]), np.concatenate([self.counts, counts]))

    def merge(self) -> None:
        """Bring :attr:`codes` and :attr:`counts` up to date."""
        new, self._new, self._waiting = self._new, [], 0
        if new:
            codes, counts = np.unique(np.concatenate(new), return_counts=True)
            self.codes, self.counts = summed(
                np.concatenate([self.codes, codes]), np.concatenate([self.counts, counts.astype(np.int64)])
            )

    def copy(self) -> NGramCounts:
        """The counts so far, which do not change with these."""
        self.merge()
        made = NGramCounts(self.order, self.base - 1)
        made.codes, made.counts = self.codes, self.counts  # replaced by a merge, never written to
        return made

    def with_ids(self, old_ids: NDArray[np.int32], order: int) -> NGramCounts:
        """The same text counted in the ids of a larger vocabulary.

        Args:
            old_ids: for each id of that vocabulary the one that it has here, -1 for a new one.
            order: of the result, at most that of these counts.
        """
        new_digits = np.zeros(self.base, np.int64)
        kept = np.flatnonzero(old_ids >= 0)
        new_digits[old_ids[kept] + 1] = kept + 1
        digits = new_digits[self.codes[:, None] // self.base ** np.arange(order - 1, -1, -1) % self.base]
        made = NGramCounts(order, len(old_ids))
        made.add_counted(digits @ made.base ** np.arange(order - 1, -1, -1, dtype=np.int64), self.counts)
        return made


def summed(codes: Codes, numbers: Codes) -> tuple[Codes, Codes]:
    """The distinct codes, sorted, and the sum of the numbers of each."""
    order = np.argsort(codes, kind="stable")  # a merge of two sorted halves takes linear time
    codes, numbers = codes[order], numbers[order]
    starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]])[: len(codes)])
    return codes[starts], np.add.reduceat(numbers, starts) if len(starts) else numbers


def find(keys: Codes, wanted: Codes) -> tuple[Codes, NDArray[np.bool_]]:
    """The places of codes in sorted keys, and whether they are there."""
    if not len(keys):
        return np.zeros(wanted.shape, np.int64), np.zeros(wanted.shape, np.bool_)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return places, keys[places] == wanted
