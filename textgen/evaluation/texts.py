"""Texts in figures: their lengths and characters, and how new and how plausible they are beside training documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from textgen.errors import CorpusError
from textgen.saved_run import SavedRun
from textgen.text.corpus import Corpus
from textgen.text.encoding import in_pieces, read_documents
from textgen.training.held_out import held_out_documents
from textgen.training.settings import recorded_layout

#: Pairs of characters compared at most when searching nearest neighbours (about 20 s), and distances held at a time.
COMPARISONS, DISTANCES = 5e11, 2**24

#: Examples of nearest neighbours.
EXAMPLES = 5

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Bar:
    """The number of documents of ``shortest`` to ``longest`` characters, both included."""

    shortest: int
    longest: int
    documents: int


@dataclass(frozen=True, kw_only=True)
class CorpusStatistics:
    """Counts of a corpus; lengths are in characters (code points) per document."""

    documents: int
    characters: int
    distinct_characters: int
    shortest: int
    mean: float
    longest: int
    histogram: list[Bar]


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A text, the training document nearest to it, and their normalised Levenshtein distance."""

    text: str
    nearest: str
    distance: float


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The distances of texts from the nearest training documents.

    The distance is Levenshtein's (characters inserted, deleted or replaced; Levenshtein, Binary codes capable of
    correcting deletions, insertions, and reversals, 1966) divided by the length of the longer text: 0 is a copy, 1 has
    nothing in common.

    Attributes:
        texts: the number of texts compared: only the first ones, if comparing all would take long.
        mean: the mean of the distances.
        median: the median of the distances.
        examples: from the nearest to the farthest, evenly spaced in between.
    """

    texts: int
    mean: float
    median: float
    examples: tuple[Neighbour, ...]


@dataclass(frozen=True, kw_only=True)
class TextStatistics:
    """Texts compared with training documents.

    Attributes:
        texts: the number of texts.
        novelty: the share of texts that are not training documents.
        uniqueness: the number of distinct texts divided by the number of texts.
        length_divergence: the Jensen-Shannon divergence of the lengths in characters, in bits.
        bigram_divergence: the Jensen-Shannon divergence of the pairs of adjacent characters, in bits.
        neighbours: the nearest training documents.
        lengths: the number of texts of each length in characters, by length.
    """

    texts: int
    novelty: float
    uniqueness: float
    length_divergence: float
    bigram_divergence: float
    neighbours: Neighbours
    lengths: Mapping[int, int]


@dataclass(frozen=True)
class Documents:
    """Some documents of a corpus, which is read anew by each iteration: none of them is held in memory.

    Args:
        corpus: the corpus.
        name: its registered name.
        numbers: ``[n]``, the numbers of some documents.
        inverse: whether these are all documents except those of the given numbers.
    """

    corpus: Corpus
    name: str
    numbers: NDArray[np.intp]
    inverse: bool = False

    def __iter__(self) -> Iterator[str]:
        numbers = set(self.numbers.tolist())
        for number, text in enumerate(read_documents(self.corpus, self.name)):
            if (number in numbers) != self.inverse:
                yield text


def measure(documents: Iterable[str], bars: int = 20) -> CorpusStatistics:
    """Counts documents; the histogram of their lengths has at most ``bars`` bars of equal width.

    Raises:
        CorpusError: if there are no documents.
    """
    lengths: Counter[int] = Counter()
    distinct: set[str] = set()
    for document in documents:
        lengths[len(document)] += 1
        distinct.update(document)
    if not lengths:
        raise CorpusError("the corpus is empty: it has no documents")
    shortest, longest = min(lengths), max(lengths)
    width = -(-(longest - shortest + 1) // bars)
    counts: Counter[int] = Counter()
    for length, count in lengths.items():
        counts[(length - shortest) // width] += count
    starts = range(shortest, longest + 1, width)
    characters = _characters(lengths)
    return CorpusStatistics(
        documents=lengths.total(),
        characters=characters,
        distinct_characters=len(distinct),
        shortest=shortest,
        mean=characters / lengths.total(),
        longest=longest,
        histogram=[Bar(start, min(start + width - 1, longest), counts[index]) for index, start in enumerate(starts)],
    )


def training_documents(run: SavedRun, corpus: Corpus) -> Documents:
    """Returns the documents that a run was trained on; the corpus is read once, to count its documents.

    Raises:
        CorpusError: if the corpus cannot be read, or is empty.
    """
    name = run.settings["corpus"]["name"]
    count = sum(1 for _ in read_documents(corpus, name))
    return Documents(corpus, name, held_out_documents(count, recorded_layout(run.settings)), inverse=True)


def count_new(texts: Sequence[str], training: Iterable[str]) -> int:
    """Counts the texts that are not training documents; reads those once, and holds only the texts."""
    new = set(texts).difference(training)
    return sum(text in new for text in texts)


def compare_texts(texts: Sequence[str], training: Iterable[str]) -> TextStatistics:
    """Compares texts with training documents; there must be at least one of each.

    Args:
        texts: the texts, which are held in memory.
        training: the training documents. They are iterated twice, so each iteration must start from the beginning; only
            the counts of their lengths and bigrams are held in memory, and a block of documents at a time.
    """
    known_lengths: Counter[int] = Counter()
    known_bigrams: Counter[tuple[str, str]] = Counter()

    def counted() -> Iterator[str]:
        for document in training:
            known_lengths[len(document)] += 1
            known_bigrams.update(pairwise(document))
            yield document

    new = count_new(texts, counted())
    lengths = count_lengths(texts)
    bigrams = Counter(pair for text in texts for pair in pairwise(text))
    return TextStatistics(
        texts=len(texts),
        novelty=new / len(texts),
        uniqueness=len(set(texts)) / len(texts),
        length_divergence=jensen_shannon(lengths, known_lengths),
        bigram_divergence=jensen_shannon(bigrams, known_bigrams),
        neighbours=find_neighbours(texts, training, _characters(known_lengths)),
        lengths=lengths,
    )


def count_lengths(texts: Iterable[str]) -> dict[int, int]:
    """Counts the texts of each length in characters; the lengths are in ascending order."""
    return dict(sorted(Counter(map(len, texts)).items()))


def _characters(lengths: Mapping[int, int]) -> int:
    """The number of characters of all texts, from the number of texts of each length."""
    return sum(length * count for length, count in lengths.items())


def jensen_shannon(a: Mapping[Key, int], b: Mapping[Key, int]) -> float:
    """The Jensen-Shannon divergence of two distributions, given by counts, in bits.

    H((p + q) / 2) - (H(p) + H(q)) / 2: 0 for equal distributions, 1 for disjoint ones (Lin, Divergence measures based
    on the Shannon entropy, IEEE Transactions on Information Theory 37, 1991). If one side has no counts it is 1, if
    neither has any 0.
    """
    if not a or not b:
        return float(bool(a) != bool(b))
    keys = list({**a, **b})
    p, q = (np.array([counts.get(key, 0) for key in keys], np.float64) for counts in (a, b))
    p, q = p / p.sum(), q / q.sum()
    both = (p + q) / 2
    divergence = sum(float((part[part > 0] * np.log2(part[part > 0] / both[part > 0])).sum()) / 2 for part in (p, q))
    return min(max(divergence, 0.0), 1.0)  # rounding


def find_neighbours(texts: Sequence[str], training: Iterable[str], characters: int | None = None) -> Neighbours:
    """Finds the training document nearest to each text; ties go to the first document.

    Args:
        texts: at least one text.
        training: at least one document; held in memory one block at a time.
        characters: the number of characters of all training documents; by default they are read once more to count it.
    """
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    if characters is None:
        characters = sum(map(len, training))
    pairs_per_text = sum(map(len, texts)) / len(texts) * characters
    texts = texts[: max(1, int(COMPARISONS / max(pairs_per_text, 1)))]
    distance = np.full(len(texts), np.inf, np.float32)
    nearest = [""] * len(texts)
    for block in _blocks(training, max(1, DISTANCES // len(texts))):
        distances = cdist(texts, block, scorer=Levenshtein.normalized_distance, dtype=np.float32, workers=-1)
        first = distances.argmin(axis=1)
        least = distances[np.arange(len(texts)), first]
        for row in np.flatnonzero(least < distance).tolist():
            distance[row], nearest[row] = least[row], block[first[row]]
    order = np.argsort(distance, kind="stable")
    spread = sorted(set(np.linspace(0, len(texts) - 1, EXAMPLES).round().astype(int).tolist()))
    return Neighbours(
        texts=len(texts),
        mean=float(np.mean(distance.tolist())),
        median=float(np.median(distance.tolist())),
        examples=tuple(
            Neighbour(text=texts[row], nearest=nearest[row], distance=float(distance[row])) for row in order[spread]
        ),
    )


def _blocks(documents: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yields documents in lists, at most ``size`` at a time and few enough to be held in memory."""
    for piece in in_pieces(documents):
        for start in range(0, len(piece), size):
            yield piece[start : start + size]
