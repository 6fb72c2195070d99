"""N-grams as the papers define them, in dictionaries: slow, and without codes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import strategies as st

from textgen import NGramCounts

#: The number of ids of the texts below.
V = 4

#: A place before the beginning of a text.
MARK = -1

#: Texts: rows of ids, each with whether it is counted when it is predicted; the first one of a row never is.
ROW = st.lists(st.tuples(st.integers(0, V - 1), st.sampled_from([True, True, True, False])), min_size=1, max_size=25)
ROWS = st.lists(ROW, min_size=0, max_size=6)
ORDERS = st.integers(2, 5)

Gram = tuple[int, ...]


def ngrams(rows: list[Any], order: int) -> list[Gram]:
    """The n-grams of rows, as often as they occur; they begin with marks where the text is shorter."""
    found = []
    for row in rows:
        marked = [MARK] * (order - 1) + [i for i, _ in row]
        found += [tuple(marked[end : end + order]) for end in range(1, len(row)) if row[end][1]]
    return found


def count(rows: list[Any], order: int, vocab_size: int = V) -> NGramCounts:
    """The same as codes."""
    base, counts = vocab_size + 1, NGramCounts(order, vocab_size)
    grams = np.array(ngrams(rows, order), np.int64).reshape(-1, order)
    counts.add((grams + 1) @ base ** np.arange(order - 1, -1, -1, dtype=np.int64))
    counts.merge()
    return counts


class Definition:
    """Modified Kneser-Ney after Chen and Goodman.

    Args:
        rows: the text.
        order: the length of the longest n-grams.
        kept: the contexts that a pruned model has; ``None`` for all. A context that is left out has its occurrences
            counted by the shorter one (Siivola, Hirsimäki and Virpioja).
    """

    def __init__(self, rows: list[Any], order: int, kept: set[Gram] | None = None) -> None:
        self.order, self.kept = order, kept
        self.raw: Counter[Gram] = Counter()
        for gram in ngrams(rows, order):
            marks = gram.count(MARK)
            self.raw.update(gram[start:] for start in range(max(marks - 1, 0), order))
        self.numbers = {gram: self._number(gram) for gram in self.raw if self._is_kept(gram[:-1])}

    def _is_kept(self, context: Gram) -> bool:
        return self.kept is None or context in self.kept

    def _number(self, gram: Gram) -> int:
        if len(gram) == self.order or gram[0] == MARK:
            return self.raw[gram]
        longer = [other for other in self.raw if other[1:] == gram]
        return sum(1 if self._is_kept(other[:-1]) else self.raw[other] for other in longer)

    def _discounts(self, length: int) -> tuple[float, ...]:
        counts = [number for gram, number in self.numbers.items() if len(gram) == length]
        n1, n2, n3, n4 = (counts.count(k) for k in (1, 2, 3, 4))
        if not n1 * n2 * n3 * n4:
            return 0.5, 0.8, 0.9
        y = n1 / (n1 + 2 * n2)
        found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
        return tuple(min(max(d, 0.1), k) for k, d in enumerate(found, 1))

    def probability(self, context: Gram, following: int) -> float:
        """The probability of an id after a context of any length."""
        context = context[len(context) - min(len(context), self.order - 1) :]
        seen = {gram[-1]: number for gram, number in self.numbers.items() if gram[:-1] == context}
        below = self.probability(context[1:], following) if context else 1 / V
        if not seen:
            return below
        discounts = (0.0, *self._discounts(len(context) + 1))
        total = sum(seen.values())
        left = sum(discounts[min(number, 3)] for number in seen.values())
        number = seen.get(following, 0)
        return (number - discounts[min(number, 3)] + left * below) / total
