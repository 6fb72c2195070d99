"""Statistics of texts: lengths, characters, and how they compare with those of training documents."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from textgen.errors import CorpusError
from textgen.evaluation.novelty import Neighbours, count_new, find_neighbours
from textgen.files.writing import sha256
from textgen.text.corpus import Corpus

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


def describe_corpus(name: str, corpus: Corpus, statistics: CorpusStatistics) -> dict[str, Any]:
    """The facts about a corpus that ``textgen corpora info`` prints, by name; a stream has no document lengths."""
    provenance = corpus.provenance()
    counts = asdict(statistics)
    if corpus.layout == "stream":
        counts = {label: counts[label] for label in ("characters", "distinct_characters")}
    facts = {"corpus": name, "layout": corpus.layout, **counts, **corpus.findings}
    if corpus.is_labelled:
        facts["labels"] = dict(Counter(label for label, _ in corpus.labelled_documents()).most_common())
    facts["options"] = corpus.settled_options.model_dump(mode="json", exclude_defaults=True)
    return {**facts, "licence": provenance.licence, "homepage": provenance.homepage, "files": _files(corpus)}


def _files(corpus: Corpus) -> list[dict[str, str]]:
    """The files that a corpus reads, each with its hash, and whether that is the published one."""
    sources = corpus.provenance().sources
    files = []
    for path in corpus.fetch():
        published = next((s.sha256 for s in sources if path.as_posix().endswith(s.file)), None)
        digest = sha256(path)
        state = "your own" if published is None else "published" if digest == published else "differs"
        files.append({"path": str(path), "sha256": digest, "state": state})
    return files


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


def mann_whitney(a: Mapping[float, int], b: Mapping[float, int]) -> float:
    """The z of Mann and Whitney's U of two samples, given by the counts of their values: below 0 if ``a`` has less.

    U is the number of pairs in which the value of ``a`` is the greater, plus half of the ties. Its mean and variance,
    with equal distributions and so many ties, are those of Mann and Whitney (On a test of whether one of two random
    variables is stochastically larger than the other, Annals of Mathematical Statistics 18, 1947) and of Lehmann
    (Nonparametrics, 1975, chapter 1). It is 0 if all values are equal.

    Args:
        a: at least one value.
        b: at least one value.
    """
    values = sorted({**a, **b})
    own, other = (np.array([counts.get(value, 0) for value in values], np.float64) for counts in (a, b))
    m, n, ties = own.sum(), other.sum(), own + other
    u = float(own @ (np.cumsum(other) - other / 2))
    variance = m * n / 12 * (m + n + 1 - (ties**3 - ties).sum() / ((m + n) * (m + n - 1)))
    return (u - m * n / 2) / math.sqrt(variance) if variance > 0 else 0.0
