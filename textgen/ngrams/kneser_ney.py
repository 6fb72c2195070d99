"""Modified Kneser-Ney smoothing, interpolated: the probabilities that follow from counts of n-grams.

S. F. Chen and J. Goodman, "An empirical study of smoothing techniques for language modeling" (1998), section 3: each
count is lowered by a discount, and what that leaves is shared out by the distribution after the next shorter context.
The longest n-grams count occurrences. A shorter one counts the distinct ids that come before it, so that an id that
follows one context only, however often, is not expected after others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textgen.ngrams.by_length import Grams, by_length
from textgen.ngrams.counts import Codes, NGramCounts, find

Numbers = NDArray[np.float64]

#: Discounts of counts 1, 2 and above, where a text is too short to estimate them.
DEFAULT_DISCOUNTS = (0.5, 0.8, 0.9)


class KneserNey:
    """Probabilities of the next id, after any context.

    Args:
        counts: of the text.
    """

    def __init__(self, counts: NGramCounts) -> None:
        self._base = counts.base
        levels = by_length(counts)
        self._levels = [_Level.of(*each) for each in zip(levels, kneser_ney_numbers(levels), strict=True)]

    def probabilities(self, contexts: Codes, ids: NDArray[np.integer]) -> Numbers:
        """The probabilities of ids after contexts.

        Args:
            contexts: their last n - 1 digits, ``[...]``.
            ids: ``[...]``.

        Returns:
            ``[...]`` float64, above 0.
        """
        p = np.full(contexts.shape, 1 / (self._base - 1))
        for length, level in enumerate(self._levels):
            codes = contexts % self._base**length
            places, found = find(level.contexts, codes)
            if not found.any():
                break
            p = np.where(found, level.own_of(codes * self._base + ids + 1) + level.shares[places] * p, p)
        return p


@dataclass(frozen=True)
class _Level:
    """The contexts of one length, and the n-grams that each begins.

    Attributes:
        contexts: their codes, ``[c]`` int64, sorted.
        shares: the share of the shorter context's distribution after each, ``[c]`` float64.
        grams: the codes of the n-grams, ``[g]`` int64, sorted.
        own: what each has of its discounted count, over the context's total, ``[g]`` float64.
    """

    contexts: Codes
    shares: Numbers
    grams: Codes
    own: Numbers

    @classmethod
    def of(cls, grams: Grams, numbers: Codes) -> _Level:
        own, shares = smooth(numbers, grams.context_of, len(grams.contexts))
        return cls(grams.contexts, shares, grams.codes, own)

    def own_of(self, grams: Codes) -> Numbers:
        """:attr:`own` of n-grams, 0 for those that do not occur."""
        places, found = find(self.grams, grams)
        return np.where(found, self.own[places], 0.0) if len(self.own) else np.zeros(grams.shape)


def kneser_ney_numbers(levels: Sequence[Grams], kept: Sequence[NDArray[np.bool_]] | None = None) -> list[Codes]:
    """The numbers that Kneser and Ney give the n-grams of each length: how many distinct ids come before them.

    The longest ones, and those that begin a text, count their occurrences. So does, for each id before it, an n-gram
    whose longer context is left out (Siivola, Hirsimäki and Virpioja, "On growing and pruning Kneser-Ney smoothed
    n-gram models", 2007): the shorter context has to account for what the longer one would have.

    Args:
        levels: n-grams of 1, 2, ... digits.
        kept: whether each context is kept, by length; by default all are.
    """
    found = [levels[-1].counts]
    for length in range(len(levels) - 1, 0, -1):
        shorter, longer = levels[length - 1], levels[length]
        before = np.minimum(longer.counts, 1)
        if kept is not None:
            before = np.where(kept[length][longer.context_of], before, longer.counts)
        sums = np.bincount(longer.suffixes, before, len(shorter.codes)).astype(np.int64)
        found.append(np.where(shorter.begins, shorter.counts, sums))
    return found[::-1]


def smooth(numbers: Codes, context_of: NDArray[np.intp], contexts: int) -> tuple[Numbers, Numbers]:
    """Lower the numbers of n-grams by discounts, and share out what that leaves.

    Args:
        numbers: ``[g]``.
        context_of: the context of each n-gram, ``[g]``.
        contexts: the number c of contexts.

    Returns:
        What each n-gram keeps, over its context's total, ``[g]`` float64; and the share of the shorter context, ``[c]``
        float64, which is 1 if nothing was counted.
    """
    discount = discounts(numbers)[np.minimum(numbers, 3)]
    totals = np.bincount(context_of, numbers, contexts)
    left = np.bincount(context_of, discount, contexts)
    shares = np.divide(left, totals, out=np.ones(contexts), where=totals > 0)
    return (numbers - discount) / np.maximum(totals, 1)[context_of], shares


def discounts(numbers: Codes) -> Numbers:
    """The discounts of numbers 0, 1, 2 and above, by how many numbers are 1, 2, 3 and 4 (equation 26): ``[4]``."""
    ones, twos, threes, fours = (int(np.count_nonzero(numbers == number)) for number in (1, 2, 3, 4))
    if not min(ones, twos, threes, fours):
        return np.array([0, *DEFAULT_DISCOUNTS])
    y = ones / (ones + 2 * twos)
    found = (0, 1 - 2 * y * twos / ones, 2 - 3 * y * threes / twos, 3 - 4 * y * fours / threes)
    # A small text may give estimates out of range, which would leave nothing to share, or a negative number.
    return np.clip(found, (0, 0.1, 0.1, 0.1), (0, 1, 2, 3))
