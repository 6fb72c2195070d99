"""The n-grams of a text by their length, and how they contain one another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textgen.ngrams.counts import Codes, NGramCounts

Places = NDArray[np.intp]


@dataclass(frozen=True)
class Grams:
    """The n-grams of one length n: each is a context of n - 1 digits, and an id.

    Besides those that were counted there are those that are contexts, but were only read. Two zeros at the beginning of
    a text say no more than one, so n-grams that begin with two are left out.

    Attributes:
        codes: ``[m]`` int64, sorted.
        counts: their occurrences, ``[m]`` int64.
        begins: whether they begin a text, so that nothing ever comes before them, ``[m]``.
        suffixes: the places of the n-grams without their first digits among the shorter ones, ``[m]``; 0 if n is 1.
        longer: the places of the n-grams among the contexts of n digits, ``[m]``; -1 for those that are none.
        contexts: the codes of the contexts, ``[c]`` int64, sorted. The empty one and, of one digit, the beginning of a
            text are always there.
        context_of: the place of the context of each n-gram, ``[m]``, sorted.
        offsets: where the n-grams of each context begin, and the end of the last, ``[c + 1]``.
    """

    codes: Codes
    counts: Codes
    begins: NDArray[np.bool_]
    suffixes: Places
    longer: Places
    contexts: Codes
    context_of: Places
    offsets: Places


def by_length(text: NGramCounts) -> list[Grams]:
    """The n-grams of 1, 2, ... and n digits that occur in a text."""
    text.merge()
    order, base, codes, counts = text.order, text.base, text.codes, text.counts
    longer = np.full(len(codes), -1)
    found: list[Grams] = []
    for length in range(order, 0, -1):
        left_out = _left_out(codes, length, base)
        kept = codes[left_out:]
        contexts = _distinct(kept // base)
        if length <= 2 and contexts[:1].tolist() != [0]:
            contexts = np.concatenate([[0], contexts])
        offsets = np.searchsorted(kept, np.append(contexts, base ** (length - 1)) * base)
        suffixes, shorter = np.zeros(len(codes), np.intp), (codes[:0], counts[:0], longer[:0])
        if length > 1:
            suffixes, shorter = _shorter(codes, counts, contexts, base ** (length - 1))
            suffixes -= _left_out(shorter[0], length - 1, base)
        found.append(
            Grams(
                codes=kept,
                counts=counts[left_out:],
                begins=kept < base ** (length - 1) if length > 1 else np.zeros(len(kept), np.bool_),
                suffixes=suffixes[left_out:],
                longer=longer[left_out:],
                contexts=contexts,
                context_of=np.repeat(np.arange(len(contexts)), np.diff(offsets)),
                offsets=offsets,
            )
        )
        codes, counts, longer = shorter
    return found[::-1]


def _left_out(codes: Codes, length: int, base: int) -> int:
    """How many n-grams begin with two zeros; they are the first."""
    return int(np.searchsorted(codes, base ** (length - 2))) if length > 2 else 0


def _shorter(codes: Codes, counts: Codes, contexts: Codes, power: int) -> tuple[Places, tuple[Codes, Codes, Places]]:
    """The places of n-grams without their first digits among those shorter ones; these, and the contexts among them.

    Returns:
        The places; then of the shorter ones the codes, the counts, and the places among the contexts.
    """
    read = np.flatnonzero(contexts)  # the beginning of a text ends with no id
    found, places = np.unique(np.concatenate([codes % power, contexts[read]]), return_inverse=True)
    suffixes, is_context = places[: len(codes)], places[len(codes) :]
    # Sums in double precision are exact, since there are less than 2**53 occurrences.
    sums = np.bincount(suffixes, counts, len(found)).astype(np.int64)
    longer = np.full(len(found), -1)
    longer[is_context] = read
    return suffixes, (found, sums, longer)


def _distinct(codes: Codes) -> Codes:
    """The distinct ones of sorted codes."""
    return np.asarray(codes[np.concatenate([[True], codes[1:] != codes[:-1]])[: len(codes)]])
