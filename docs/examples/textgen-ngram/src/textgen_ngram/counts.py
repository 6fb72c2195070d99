"""Counts of n-grams, and the probabilities of the next character that follow from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class _Table:
    """The n-grams of one length, each a context and the id that follows it.

    Attributes:
        grams, counts: sorted codes, and the number of occurrences of each.
        contexts, totals, kinds: sorted codes, the number of occurrences of each, and the number of distinct ids that
            follow it.
    """

    grams: Codes
    counts: Codes
    contexts: Codes
    totals: Codes
    kinds: Codes


class Counts:
    """Counts of n-grams, and the probabilities that Witten and Bell's method derives from them.

    An n-gram is encoded as a number whose n digits, in base V + 1, are its characters: id + 1, or 0 for a position
    before the first character of the text.

    Args:
        order: the length n of an n-gram.
        vocab_size: the number V of ids; ``(V + 1) ** n`` must be below 2**63.

    Attributes:
        codes: the codes of the n-grams, ``[m]`` int64, sorted.
        counts: the number of occurrences of each, ``[m]`` int64.
    """

    def __init__(self, order: int, vocab_size: int) -> None:
        self.order, self.vocab_size = order, vocab_size
        self.codes, self.counts = np.empty(0, np.int64), np.empty(0, np.int64)
        self._tables: list[_Table] | None = None

    def add(self, codes: Codes, counts: Codes) -> None:
        """Adds ``counts`` occurrences of n-grams, both ``[k]``, in any order; an n-gram may be repeated."""
        self.codes, self.counts = _summed(np.concatenate([self.codes, codes]), np.concatenate([self.counts, counts]))
        self._tables = None

    def encode(self, digits: NDArray[np.integer]) -> Codes:
        """Returns the codes ``[...]`` int64 of digits ``[..., k]``; the digit 0 means no character, 1 means id 0."""
        codes = np.zeros(digits.shape[:-1], np.int64)
        for position in range(digits.shape[-1]):
            codes = codes * (self.vocab_size + 1) + digits[..., position]
        return codes

    def probabilities(self, contexts: NDArray[np.integer], following: NDArray[np.integer]) -> NDArray[np.float64]:
        """Returns the probabilities of ids after contexts.

        With n(h) the count of a context h, t(h) the number of distinct ids seen after it, and h' the context without
        its first character, P(c | h) = (n(hc) + t(h) P(c | h')) / (n(h) + t(h)); the empty context backs off to 1 / V.
        This is method C of Witten and Bell, "The zero-frequency problem" (1991), interpolated as in Chen and Goodman,
        "An empirical study of smoothing techniques for language modeling" (1998), equation 16.

        Args:
            contexts: digits ``[..., order - 1]``, as for :meth:`encode`.
            following: ids, of a shape that broadcasts with ``[...]``.

        Returns:
            Probabilities, float64, of the broadcast shape.
        """
        shape = np.broadcast_shapes(contexts.shape[:-1], following.shape)
        found = np.full(shape, 1 / self.vocab_size)
        for length, table in enumerate(self._table_by_length()):
            context = self.encode(contexts[..., self.order - 1 - length :])
            total = _look_up(table.contexts, table.totals, context)
            kinds = _look_up(table.contexts, table.kinds, context)
            count = _look_up(table.grams, table.counts, context * (self.vocab_size + 1) + following + 1)
            found = np.where(total > 0, (count + kinds * found) / np.maximum(total + kinds, 1), found)
        return found

    def _table_by_length(self) -> list[_Table]:
        """The tables for contexts of 0, 1, ... characters, all derived from the longest n-grams."""
        if self._tables is None:
            self._tables = [self._table(length) for length in range(self.order)]
        return self._tables

    def _table(self, length: int) -> _Table:
        base = self.vocab_size + 1
        codes = self.codes % base ** (length + 1)
        # A context with two leading zeros reaches beyond the beginning of the text: a shorter one has the same counts.
        counted = codes >= base ** (length - 1) if length > 1 else np.full(len(codes), True)
        grams, counts = _summed(codes[counted], self.counts[counted])
        contexts, totals = _summed(grams // base, counts)
        _, kinds = _summed(grams // base, np.ones_like(counts))
        return _Table(grams, counts, contexts, totals, kinds)


def _summed(codes: Codes, numbers: Codes) -> tuple[Codes, Codes]:
    """Returns the distinct codes, sorted, and the sum of the numbers of each."""
    different, index = np.unique(codes, return_inverse=True)
    sums = np.zeros(len(different), np.int64)
    np.add.at(sums, index, numbers)
    return different, sums


def _look_up(keys: Codes, values: Codes, wanted: Codes) -> Codes:
    """Returns the values of the wanted keys; 0 for a key that is missing."""
    if not len(keys):
        return np.zeros(wanted.shape, np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)
