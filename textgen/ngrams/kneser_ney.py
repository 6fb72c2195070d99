"""Modified Kneser-Ney smoothing, interpolated: the probabilities that follow from counts of n-grams.

S. F. Chen and J. Goodman, "An empirical study of smoothing techniques for language modeling" (1998), section 3: each
count is lowered by a discount, and what that leaves is shared out by the distribution after the next shorter context.
The longest n-grams count occurrences. A shorter one counts the distinct ids that come before it, so that an id that
follows one context only, however often, is not expected after others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textgen.ngrams.counts import Codes, NGramCounts, summed

Numbers = NDArray[np.float64]

#: Discounts of counts 1, 2 and above, where a text is too short to estimate them.
DEFAULT_DISCOUNTS = (0.5, 0.8, 0.9)


@dataclass(frozen=True)
class Level:
    """The contexts of one length, and the ids that were seen after each.

    Attributes:
        contexts: their codes, ``[c]`` int64, sorted.
        shares: the share of the shorter context's distribution after each, ``[c]`` float64.
        offsets: where the ids of each begin in ``ids``, and the end of the last, ``[c + 1]`` int64.
        ids: seen after the contexts, ``[g]`` int32, sorted within each.
        grams: the codes of context and id, ``[g]`` int64, sorted.
        own: what each id has of its discounted count, over the context's total, ``[g]`` float64.
    """

    contexts: Codes
    shares: Numbers
    offsets: Codes
    ids: NDArray[np.int32]
    grams: Codes
    own: Numbers

    def find(self, codes: Codes) -> tuple[Codes, NDArray[np.bool_]]:
        """The places of contexts in :attr:`contexts`, and whether they are there."""
        return find(self.contexts, codes)

    def own_of(self, grams: Codes) -> Numbers:
        """:attr:`own` of n-grams, 0 for those that do not occur."""
        places, found = find(self.grams, grams)
        return np.where(found, self.own[places], 0.0) if len(self.own) else np.zeros(grams.shape)


class KneserNey:
    """Distributions of the next id.

    Args:
        counts: of the text; at least one n-gram.

    Attributes:
        levels: for contexts of 0, 1, ... and n - 1 digits.
    """

    def __init__(self, counts: NGramCounts) -> None:
        self.order, self.base = counts.order, counts.base
        self.vocab_size = self.base - 1
        self.levels = [make_level(codes, numbers, self.base) for codes, numbers in _by_length(counts)]

    def probabilities(self, contexts: Codes, known: NDArray[np.intp], ids: NDArray[np.integer]) -> Numbers:
        """The probabilities of ids after contexts.

        Args:
            contexts: their last n - 1 digits, ``[...]``; digits before the known ones may be anything.
            known: the number of digits of each that are known, ``[...]``.
            ids: ``[...]``.

        Returns:
            ``[...]`` float64, above 0.
        """
        p = np.full(contexts.shape, 1 / self.vocab_size)
        for length, level in enumerate(self.levels):
            codes = contexts % self.base**length
            places, found = level.find(codes)
            found &= known >= length
            if not found.any():
                break
            p = np.where(found, level.own_of(codes * self.base + ids + 1) + level.shares[places] * p, p)
        return p

    def distributions(self, contexts: Codes, known: NDArray[np.intp]) -> Numbers:
        """The probabilities of all ids after contexts ``[k]``: ``[k, V]`` float64; arguments as above."""
        p = np.full((len(contexts), self.vocab_size), 1 / self.vocab_size)
        rows = np.arange(len(contexts))
        for length, level in enumerate(self.levels):
            places, found = level.find(contexts[rows] % self.base**length)
            found &= known[rows] >= length
            rows, places = rows[found], places[found]  # a longer context than one that never occurred did not, either
            if not len(rows):
                break
            p[rows] *= level.shares[places, None]
            sizes = level.offsets[places + 1] - level.offsets[places]
            entries = np.repeat(level.offsets[places + 1] - np.cumsum(sizes), sizes) + np.arange(sizes.sum())
            p[np.repeat(rows, sizes), level.ids[entries]] += level.own[entries]
        return p


def _by_length(counts: NGramCounts) -> Iterator[tuple[Codes, Codes]]:
    """The n-grams of 1, 2, ... and n digits with the numbers that Kneser and Ney give them."""
    codes, numbers, occurrences = counts.codes, counts.counts, counts.counts
    found = [(codes, numbers)]
    for length in range(counts.order - 1, 0, -1):
        # The longer n-grams, each once: so many distinct digits come before their last ``length`` digits.
        power = counts.base**length
        codes, neighbours = summed(codes % power, np.ones(len(codes), np.int64))
        _, occurrences = summed(counts.codes % power, counts.counts) if length > 1 else (codes, neighbours)
        # Nothing comes before the beginning of a text, so what begins there counts its occurrences.
        begins = codes < counts.base ** (length - 1) if length > 1 else np.zeros(len(codes), np.bool_)
        found.append((codes, np.where(begins, occurrences, neighbours)))
    for length, (codes, numbers) in enumerate(reversed(found), 1):
        # Two zeros at the beginning: a shorter n-gram says as much.
        kept = codes >= counts.base ** (length - 2) if length > 2 else np.ones(len(codes), np.bool_)
        yield codes[kept], numbers[kept]


def make_level(grams: Codes, numbers: Codes, base: int) -> Level:
    """The level of n-grams, given the number of each."""
    contexts, starts = np.unique(grams // base, return_index=True)
    discounts = np.array([0.0, *_discounts(numbers)])[np.minimum(numbers, 3)]
    totals = np.add.reduceat(numbers, starts)
    offsets = np.append(starts, len(grams))
    sizes = np.diff(offsets)
    return Level(
        contexts=contexts,
        shares=np.add.reduceat(discounts, starts) / totals,
        offsets=offsets,
        ids=(grams % base - 1).astype(np.int32),
        grams=grams,
        own=(numbers - discounts) / np.repeat(totals, sizes),
    )


def _discounts(numbers: Codes) -> tuple[float, ...]:
    """The discounts of counts 1, 2 and above, by how many counts are 1, 2, 3 and 4 (equation 26)."""
    ones, twos, threes, fours = (int(np.count_nonzero(numbers == number)) for number in (1, 2, 3, 4))
    if not min(ones, twos, threes, fours):
        return DEFAULT_DISCOUNTS
    y = ones / (ones + 2 * twos)
    found = (1 - 2 * y * twos / ones, 2 - 3 * y * threes / twos, 3 - 4 * y * fours / threes)
    # A small text may give estimates out of range, which would leave nothing to share, or a negative count.
    return tuple(float(np.clip(discount, 0.1, count)) for count, discount in enumerate(found, 1))


def find(keys: Codes, wanted: Codes) -> tuple[Codes, NDArray[np.bool_]]:
    """The places of codes in sorted keys, and whether they are there."""
    if not len(keys):
        return np.zeros(wanted.shape, np.int64), np.zeros(wanted.shape, np.bool_)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return places, keys[places] == wanted
