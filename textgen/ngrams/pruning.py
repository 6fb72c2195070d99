"""Trees of limited size: the contexts that predict most, with probabilities that make up for those left out.

Kneser and Ney give a shorter context the number of distinct ids before it, since longer contexts account for the rest.
Where those are left out it has to count their occurrences (Siivola, Hirsimäki and Virpioja, "On growing and pruning
Kneser-Ney smoothed n-gram models", 2007).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from textgen.ngrams.context_tree import MOST_NUMBERS, ContextTree
from textgen.ngrams.counts import Codes, NGramCounts, summed
from textgen.ngrams.kneser_ney import KneserNey, Level, find, make_level

Numbers = NDArray[np.float64]

#: Contexts, by their length: their codes, sorted.
Kept = list[Codes]


def jackknifed_trees(parts: Sequence[NGramCounts], contexts: int) -> list[ContextTree]:
    """A tree of a whole text, and for each part a tree of all other parts.

    What a tree says about the text that it was counted in is too good. A network that is trained on top of it has to
    see what it says about other text: the tree of the other parts.

    Args:
        parts: the n-grams of each part of a text; at least two parts, and one n-gram.
        contexts: the most contexts of each tree.

    Returns:
        The tree of the whole text first.
    """
    wholes = [list(parts), *([*parts[:number], *parts[number + 1 :]] for number in range(len(parts)))]
    return [_tree_of(some, contexts) for some in wholes]


def make_tree(counts: NGramCounts, kept: Kept) -> ContextTree:
    """The tree of the contexts ``kept``; it has the suffix of each, and what comes before its last id."""
    base, levels = counts.base, _levels(counts, kept)
    firsts = np.cumsum([0, *(len(level.contexts) for level in levels)])
    entries = np.cumsum([0, *(len(level.grams) for level in levels)])
    suffixes, longer = [np.zeros(1, np.int64)], []
    for length, level in enumerate(levels):
        if length:
            shorter = level.contexts % base ** (length - 1)
            suffixes.append(firsts[length - 1] + find(levels[length - 1].contexts, shorter)[0])
        places, found = find(levels[length + 1].contexts if length + 1 < len(levels) else kept[0][:0], level.grams)
        longer.append(np.where(found, firsts[length + 1] + places, -1))
    offsets = [level.offsets[:-1] + before for level, before in zip(levels, entries, strict=False)]
    return ContextTree(
        suffixes=np.concatenate(suffixes).astype(np.int32),
        shares=np.concatenate([level.shares for level in levels]).astype(np.float32),
        offsets=np.concatenate([*offsets, entries[-1:]]).astype(np.int32),
        ids=np.concatenate([level.ids for level in levels]),
        own=np.concatenate([level.own for level in levels]).astype(np.float32),
        longer=np.concatenate(longer).astype(np.int32),
        vocab_size=base - 1,
    )


def _tree_of(parts: Sequence[NGramCounts], contexts: int) -> ContextTree:
    whole = _sum(parts)
    if not len(whole.codes):
        return ContextTree.of_nothing(whole.base - 1)
    kept = _all_contexts(whole)
    contexts = min(contexts, MOST_NUMBERS // (whole.base - 1))
    if sum(map(len, kept)) > contexts:
        half = len(parts) // 2
        first, second = _sum(parts[:half]), _sum(parts[half:])
        gains = zip(_gains(first, second, kept), _gains(second, first, kept), strict=True)
        kept = _choose(kept, [one + other for one, other in gains], contexts, whole.base)
    return make_tree(whole, kept)


def _sum(parts: Sequence[NGramCounts]) -> NGramCounts:
    whole = NGramCounts(parts[0].order, parts[0].base - 1)
    for part in parts:
        part.merge()
        whole.add_counted(part.codes, part.counts)
    return whole


def _by_length(counts: NGramCounts) -> list[tuple[Codes, Codes]]:
    """The n-grams of 1, 2, ... and n ids, and the occurrences of each; a text begins with one zero at most."""
    found = []
    for length in range(1, counts.order + 1):
        codes, occurrences = summed(counts.codes % counts.base**length, counts.counts)
        kept = codes >= counts.base ** (length - 2) if length > 2 else np.ones(len(codes), np.bool_)
        found.append((codes[kept], occurrences[kept]))
    return found


def _all_contexts(counts: NGramCounts) -> Kept:
    """All contexts; nothing is counted after the beginning of a text, from which others are reached all the same."""
    kept = [np.unique(codes // counts.base) for codes, _ in _by_length(counts)]
    kept[1] = np.union1d(kept[1], [0])
    return kept


def _levels(counts: NGramCounts, kept: Kept) -> list[Level]:
    """The levels of those contexts that are kept."""
    base, grams, levels = counts.base, _by_length(counts), []
    for length, contexts in enumerate(kept):
        codes, numbers = grams[length]
        if length + 1 < len(kept):
            longer, occurrences = grams[length + 1]
            is_kept = find(kept[length + 1], longer // base)[1]
            shorter, accounted = summed(longer % base ** (length + 1), np.where(is_kept, 1, occurrences))
            places, found = find(shorter, codes)  # nothing comes before the beginning of a text
            numbers = np.where(found, accounted[places], numbers)
        chosen = find(contexts, codes // base)[1]
        level = make_level(codes[chosen], numbers[chosen], base)
        if length == 1:
            first = kept[2] if len(kept) > 2 else kept[0][:0]
            level = _with_beginning(level, first[first < base])
        levels.append(level)
    return levels


def _with_beginning(level: Level, first: Codes) -> Level:
    """The contexts of one id and, before them, the beginning of a text, after which the ids ``first - 1`` are known."""
    return Level(
        contexts=np.concatenate([[0], level.contexts]),
        shares=np.concatenate([[1.0], level.shares]),
        offsets=np.concatenate([[0], level.offsets + len(first)]),
        ids=np.concatenate([first - 1, level.ids]).astype(np.int32),
        grams=np.concatenate([first, level.grams]),
        own=np.concatenate([np.zeros(len(first)), level.own]),
    )


def _gains(counted: NGramCounts, judged: NGramCounts, kept: Kept) -> list[Numbers]:
    """What each context adds to the log-probability of a text, over its suffix; the n-grams of another one decide.

    Both probabilities are those of the longest contexts of a model, which count occurrences.

    Returns:
        Of each context in ``kept``, in nats.
    """
    gains = [np.zeros(len(contexts)) for contexts in kept]
    if not len(counted.codes):
        return gains
    smoothed, base = KneserNey(counted), counted.base
    shorter = last = np.full(len(judged.codes), 1 / smoothed.vocab_size)
    for length, (codes, numbers) in enumerate(_by_length(counted)):
        grams = judged.codes % base ** (length + 1)
        contexts = grams // base
        p = _interpolated(make_level(codes, numbers, base), contexts, grams, shorter)
        shorter = _interpolated(smoothed.levels[length], contexts, grams, shorter)
        places, known = find(kept[length], contexts)
        gains[length] += np.bincount(
            places[known], (judged.counts * np.log(p / last))[known], minlength=len(kept[length])
        )
        last = p
    return gains


def _interpolated(level: Level, contexts: Codes, grams: Codes, shorter: Numbers) -> Numbers:
    """The probabilities of n-grams, given those after the contexts without their first ids."""
    places, found = level.find(contexts)
    return np.where(found, level.own_of(grams) + level.shares[places] * shorter, shorter)


def _choose(kept: Kept, gains: Sequence[Numbers], contexts: int, base: int) -> Kept:
    """At most so many contexts that gain most; what a context needs gains at least as much as it does."""
    gains = [gain.copy() for gain in gains]
    gains[0][:] = np.inf
    gains[1][0] = np.inf  # the beginning of a text
    for length in range(len(kept) - 1, 1, -1):
        for needed in (kept[length] % base ** (length - 1), kept[length] // base):
            np.maximum.at(gains[length - 1], find(kept[length - 1], needed)[0], gains[length])
    least = np.sort(np.concatenate(gains))[::-1][max(contexts, 2) - 1]
    return [codes[(gain >= least) & (gain > 0)] for codes, gain in zip(kept, gains, strict=True)]
