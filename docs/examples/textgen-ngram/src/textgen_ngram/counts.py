"""How often n-grams occur, and what that says of the next character."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class _Table:
    """The n-grams of one length, each a context and what follows it.

    Attributes:
        grams, counts: codes in order, and how often each occurs.
        contexts, totals, kinds: codes in order, how often each occurs, and how many different ids follow it.
    """

    grams: Codes
    counts: Codes
    contexts: Codes
    totals: Codes
    kinds: Codes


class Counts:
    """Counts of n-grams, with the probabilities that Witten and Bell's method makes of them.

    An n-gram is a number whose n digits, in base V + 1, are its characters: id + 1, and 0 for what is before the first
    character of a text.

    Args:
        order: the length n of an n-gram.
        vocab_size: the number V of ids; ``(V + 1) ** n`` must be below 2**63.

    Attributes:
        codes: of the n-grams, ``[m]`` int64 in order.
        counts: how often each occurs, ``[m]`` int64.
    """

    def __init__(self, order: int, vocab_size: int) -> None:
        self.order, self.vocab_size = order, vocab_size
        self.codes, self.counts = np.empty(0, np.int64), np.empty(0, np.int64)
        self._tables: list[_Table] | None = None

    def add(self, codes: Codes, counts: Codes) -> None:
        """Count n-grams ``[k]`` in any order, an n-gram more than once too, each so many times."""
        self.codes, self.counts = _summed(np.concatenate([self.codes, codes]), np.concatenate([self.counts, counts]))
        self._tables = None

    def encode(self, digits: NDArray[np.integer]) -> Codes:
        """The numbers ``[...]`` int64 of digits ``[..., k]``, where 0 is no character and 1 is id 0."""
        codes = np.zeros(digits.shape[:-1], np.int64)
        for position in range(digits.shape[-1]):
            codes = codes * (self.vocab_size + 1) + digits[..., position]
        return codes

    def probabilities(self, contexts: NDArray[np.integer], following: NDArray[np.integer]) -> NDArray[np.float64]:
        """The probability of ids after contexts.

        With n(h) the count of a context h, t(h) the number of different ids seen after it, and h' the context without
        its first character, P(c | h) = (n(hc) + t(h) P(c | h')) / (n(h) + t(h)); below the empty context lies 1 / V.
        That is method C of Witten and Bell, "The zero-frequency problem" (1991), interpolated as in Chen and Goodman,
        "An empirical study of smoothing techniques for language modeling" (1998), equation 16.

        Args:
            contexts: digits ``[..., order - 1]``, as for :meth:`encode`.
            following: ids of a shape that goes with ``[...]``.

        Returns:
            Probabilities of the joint shape.
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
        """The tables of contexts of 0, 1, ... characters; all follow from the longest n-grams."""
        if self._tables is None:
            self._tables = [self._table(length) for length in range(self.order)]
        return self._tables

    def _table(self, length: int) -> _Table:
        base = self.vocab_size + 1
        codes = self.codes % base ** (length + 1)
        # A context that begins with two digits 0 reaches past the text's beginning: a shorter one says the same.
        counted = codes >= base ** (length - 1) if length > 1 else np.full(len(codes), True)
        grams, counts = _summed(codes[counted], self.counts[counted])
        contexts, totals = _summed(grams // base, counts)
        _, kinds = _summed(grams // base, np.ones_like(counts))
        return _Table(grams, counts, contexts, totals, kinds)


def _summed(codes: Codes, numbers: Codes) -> tuple[Codes, Codes]:
    """The different codes in order, and the sum of each one's numbers."""
    different, index = np.unique(codes, return_inverse=True)
    sums = np.zeros(len(different), np.int64)
    np.add.at(sums, index, numbers)
    return different, sums


def _look_up(keys: Codes, values: Codes, wanted: Codes) -> Codes:
    """The values of wanted keys; 0 where there is no such key."""
    if not len(keys):
        return np.zeros(wanted.shape, np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)
