"""Trees of limited size: the contexts that predict most, with probabilities that make up for those left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from textgen.ngrams.by_length import Grams, Places, by_length
from textgen.ngrams.context_tree import ContextTree
from textgen.ngrams.counts import Codes, NGramCounts
from textgen.ngrams.kneser_ney import Numbers, discounts, kneser_ney_numbers, smooth

#: Of each context, by length: whether it is kept.
Kept = list[NDArray[np.bool_]]


def make_tree(counts: NGramCounts, contexts: int | None = None) -> ContextTree:
    """The tree of a text.

    Args:
        counts: its n-grams, n at least 2.
        contexts: the most contexts, at least 2; ``None`` for all.
    """
    levels, vocab_size = by_length(counts), counts.base - 1
    kept = [value > 0 for value in _with_needed(levels, [_sums(level, level.counts) for level in levels])]
    if contexts is not None and sum(map(np.count_nonzero, kept)) > contexts:
        kept = _best(_with_needed(levels, _gains(levels, vocab_size)), contexts)
    return _tree_of(levels, kept, vocab_size)


def _gains(levels: Sequence[Grams], vocab_size: int) -> list[Numbers]:
    """What each context adds to the log-probability of the text, over its suffix, in nats; by length.

    Each occurrence is judged by all others (leaving one out), since what was counted is always well predicted by the
    longest contexts. Both probabilities are those of the longest contexts of a model, which count occurrences.
    """
    gains = []
    shorter = last = np.full(1, 1 / vocab_size)
    for level, number in zip(levels, kneser_ney_numbers(levels), strict=True):
        counts = level.counts
        # Without one of several occurrences, as many distinct ids come before an n-gram as with it, nearly always.
        lost = (counts == 1) | (level.begins & (counts > 0))
        p = _without(level, counts, counts > 0, shorter)
        shorter = _without(level, number, lost, shorter)
        gains.append(_sums(level, counts * np.log(p / last[level.suffixes])))
        last = p
    return gains


def _without(level: Grams, numbers: Codes, lost: NDArray[np.bool_], shorter: Numbers) -> Numbers:
    """The probabilities of n-grams, each as if its number, and the total of its context, were less by one where lost.

    ``shorter`` are the probabilities of the n-grams without their first digits.
    """
    of = level.context_of
    table, left_over = discounts(numbers), numbers - lost
    total = _sums(level, numbers)[of] - lost
    discount, less = table[np.minimum(numbers, 3)], table[np.minimum(left_over, 3)]
    shared = _sums(level, discount)[of] - discount + less
    below = shorter[level.suffixes]
    return np.where(total > 0, (left_over - less + shared * below) / np.maximum(total, 1), below)


def _sums(level: Grams, numbers: Codes | Numbers) -> Numbers:
    """The sum of the numbers of each context's n-grams, in double precision."""
    return np.bincount(level.context_of, numbers, len(level.contexts)).astype(np.float64)


def _with_needed(levels: Sequence[Grams], values: Sequence[Numbers]) -> list[Numbers]:
    """Values of contexts, by length, in which what a context needs is worth at least as much as the context.

    It needs its suffix, and the context before its last id. The empty one and the beginning of a text are always kept.
    """
    values = [value.copy() for value in values]
    values[0][0] = values[1][0] = np.inf
    for longer, shorter, value, needed in zip(
        levels[:1:-1], levels[-2:0:-1], values[:1:-1], values[-2:0:-1], strict=True
    ):
        np.maximum.at(needed, _suffixes(longer, shorter), value)
        np.maximum.at(needed, shorter.context_of[shorter.longer >= 0], value)
    return values


def _best(values: Sequence[Numbers], contexts: int) -> Kept:
    """So many contexts of the highest values above 0, and of equal ones the shortest, which the others need."""
    values_of_all = np.concatenate(values)
    is_best = np.zeros(len(values_of_all), np.bool_)
    is_best[np.argsort(-values_of_all, kind="stable")[:contexts]] = True
    ends = np.cumsum([len(value) for value in values])
    return np.split(is_best & (values_of_all > 0), ends[:-1])


def _suffixes(level: Grams, shorter: Grams) -> Places:
    """The places of contexts of two digits or more, without their first, among the shorter contexts."""
    return shorter.context_of[level.suffixes[level.offsets[:-1]]]


def _tree_of(levels: Sequence[Grams], kept: Kept, vocab_size: int) -> ContextTree:
    """The tree of the contexts ``kept``, and of the n-grams that occur."""
    firsts = np.cumsum([0, *map(np.count_nonzero, kept)])
    #: Of each context, by length: its number in the tree.
    numbered = [first + np.cumsum(is_kept) - 1 for first, is_kept in zip(firsts, kept, strict=False)]
    suffixes, shares, sizes, ids, own, longer = [], [], [], [], [], []
    for length, numbers in enumerate(kneser_ney_numbers(levels, kept)):
        level, is_kept = levels[length], kept[length]
        leads = np.full(len(numbers), -1)
        if length + 1 < len(levels):
            is_context = level.longer >= 0
            is_context[is_context] = kept[length + 1][level.longer[is_context]]
            leads[is_context] = numbered[length + 1][level.longer[is_context]]
        chosen = is_kept[level.context_of] & ((numbers > 0) | (leads >= 0))
        context_of = numbered[length][level.context_of[chosen]] - firsts[length]
        contexts = firsts[length + 1] - firsts[length]
        own_of_ids, left = smooth(numbers[chosen], context_of, contexts)
        suffixes.append(
            numbered[length - 1][_suffixes(level, levels[length - 1])][is_kept]
            if length > 1
            else np.zeros(contexts, np.intp)
        )
        shares.append(left)
        sizes.append(np.bincount(context_of, minlength=contexts))
        ids.append(level.codes[chosen] % (vocab_size + 1) - 1)
        own.append(own_of_ids)
        longer.append(leads[chosen])
    return ContextTree(
        suffixes=np.concatenate(suffixes).astype(np.int32),
        shares=np.concatenate(shares).astype(np.float32),
        offsets=np.cumsum(np.concatenate([[0], *sizes])).astype(np.int32),
        ids=np.concatenate(ids).astype(np.int32),
        own=np.concatenate(own).astype(np.float32),
        longer=np.concatenate(longer).astype(np.int32),
        vocab_size=vocab_size,
    )
