"""How texts compare with known ones: novelty, distributions, nearest neighbours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TypeVar

import numpy as np

#: Pairs of characters that may be compared in search of nearest neighbours (20 s or so), and distances kept at once.
COMPARISONS, DISTANCES = 5e11, 2**24

#: Examples of nearest neighbours.
EXAMPLES = 5

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Neighbour:
    """A text, the known text nearest to it, and their normalised Levenshtein distance."""

    text: str
    nearest: str
    distance: float


@dataclass(frozen=True)
class Neighbours:
    """How far texts are from the nearest known one.

    The distance is Levenshtein's (characters inserted, deleted or replaced; Levenshtein, Binary codes capable of
    correcting deletions, insertions, and reversals, 1966) over the longer text's length: 0 is a copy, 1 has nothing in
    common.

    Attributes:
        texts: that were compared: the first ones, where comparing all would take long.
        mean: of the distances.
        median: of the distances.
        examples: from the nearest to the farthest, evenly spread between.
    """

    texts: int
    mean: float
    median: float
    examples: tuple[Neighbour, ...]


@dataclass(frozen=True)
class TextStatistics:
    """Texts beside known ones.

    Attributes:
        texts: how many.
        novelty: share of texts that are not known.
        uniqueness: distinct texts, as a share of all.
        length_divergence: Jensen-Shannon divergence of the lengths in characters, in bits.
        bigram_divergence: the same of the pairs of neighbouring characters.
        neighbours: the nearest known texts.
        lengths: how many texts have a length in characters, by length.
    """

    texts: int
    novelty: float
    uniqueness: float
    length_divergence: float
    bigram_divergence: float
    neighbours: Neighbours
    lengths: Mapping[int, int]


def compare_texts(texts: Sequence[str], known: Sequence[str]) -> TextStatistics:
    """Describe texts beside known ones; of each there must be at least one."""
    as_set = set(known)
    lengths = count_lengths(texts)
    return TextStatistics(
        len(texts),
        sum(text not in as_set for text in texts) / len(texts),
        len(set(texts)) / len(texts),
        jensen_shannon(lengths, count_lengths(known)),
        jensen_shannon(_count_bigrams(texts), _count_bigrams(known)),
        find_neighbours(texts, known),
        lengths,
    )


def count_lengths(texts: Sequence[str]) -> dict[int, int]:
    """How many texts have a length in characters, by length in ascending order."""
    return dict(sorted(Counter(map(len, texts)).items()))


def _count_bigrams(texts: Sequence[str]) -> Counter[tuple[str, str]]:
    return Counter(chain.from_iterable(map(pairwise, texts)))


def jensen_shannon(a: Mapping[Key, int], b: Mapping[Key, int]) -> float:
    """The Jensen-Shannon divergence of two distributions, given by counts, in bits.

    H((p + q) / 2) - (H(p) + H(q)) / 2: 0 for equal distributions, 1 for those that share nothing (Lin, Divergence
    measures based on the Shannon entropy, IEEE Transactions on Information Theory 37, 1991). Where nothing was counted
    on one side alone it is 1, on both 0.
    """
    if not a or not b:
        return float(bool(a) != bool(b))
    keys = list({**a, **b})
    p, q = (np.array([counts.get(key, 0) for key in keys], np.float64) for counts in (a, b))
    p, q = p / p.sum(), q / q.sum()
    both = (p + q) / 2
    divergence = sum(float((part[part > 0] * np.log2(part[part > 0] / both[part > 0])).sum()) / 2 for part in (p, q))
    return min(max(divergence, 0.0), 1.0)  # rounding


def find_neighbours(texts: Sequence[str], known: Sequence[str]) -> Neighbours:
    """The nearest known text of each text; the first of equally near ones."""
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    each = sum(map(len, texts)) / len(texts) * sum(map(len, known))
    texts = texts[: max(1, int(COMPARISONS / max(each, 1)))]
    at_once = max(1, DISTANCES // len(known))
    found: list[Neighbour] = []
    for at in range(0, len(texts), at_once):
        part = texts[at : at + at_once]
        distances = cdist(part, known, scorer=Levenshtein.normalized_distance, dtype=np.float32, workers=-1)
        nearest = distances.argmin(axis=1)
        for text, row, index in zip(part, distances, nearest.tolist(), strict=True):
            found.append(Neighbour(text, known[index], float(row[index])))
    distance = [neighbour.distance for neighbour in found]
    by_distance = sorted(found, key=lambda neighbour: neighbour.distance)
    spread = sorted(set(np.linspace(0, len(found) - 1, EXAMPLES).round().astype(int).tolist()))
    return Neighbours(
        len(found), float(np.mean(distance)), float(np.median(distance)), tuple(by_distance[i] for i in spread)
    )
