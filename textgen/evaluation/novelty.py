"""Novelty: which texts are new, and how near the others are to the documents that the run was trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from textgen.saved_run import SavedRun
from textgen.text.corpus import Corpus
from textgen.text.encoding import in_pieces, read_documents, read_labelled
from textgen.text.id_store import StoredIds
from textgen.text.tokenizer import Tokenizer
from textgen.training.layout import held_out_documents
from textgen.training.settings import common_options

Item = TypeVar("Item")

#: Pairs of characters compared at most when searching nearest neighbours (about 20 s), and distances held at a time.
COMPARISONS, DISTANCES = 5e11, 2**24

#: Ids decoded at a time.
DECODED = 2**16

#: Examples of nearest neighbours.
EXAMPLES = 5


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
        distances: the number of texts at each distance, to six decimals, by distance.
        examples: from the nearest to the farthest, evenly spaced in between.
    """

    texts: int
    mean: float
    median: float
    distances: Mapping[float, int]
    examples: tuple[Neighbour, ...]


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
        return self._select(read_documents(self.corpus, self.name))

    def labelled(self) -> Iterator[tuple[str, str]]:
        """Yields the label and the text of each document, of a corpus that has labels."""
        return self._select(read_labelled(self.corpus, self.name))

    def _select(self, documents: Iterable[Item]) -> Iterator[Item]:
        numbers = set(self.numbers.tolist())
        for number, document in enumerate(documents):
            if (number in numbers) != self.inverse:
                yield document


@dataclass(frozen=True)
class Pieces:
    """The text of a stream, decoded anew by each iteration, in pieces of some characters; the last one may be shorter.

    Args:
        tokenizer: the tokenizer.
        ids: ``[n]``, the text.
        size: the number of characters of a piece.
    """

    tokenizer: Tokenizer
    ids: StoredIds
    size: int

    def __iter__(self) -> Iterator[str]:
        decoder, rest = self.tokenizer.decoder(), ""
        for start in range(0, len(self.ids), DECODED):
            rest += decoder.feed(self.ids[start : start + DECODED])
            whole = len(rest) // self.size * self.size
            yield from (rest[at : at + self.size] for at in range(0, whole, self.size))
            rest = rest[whole:]
        rest += decoder.flush()
        yield from (rest[at : at + self.size] for at in range(0, len(rest), self.size))


def training_documents(run: SavedRun, corpus: Corpus) -> Documents:
    """Returns the documents that a run was trained on; the corpus is read once, to count its documents.

    Raises:
        CorpusError: if the corpus cannot be read, or is empty.
    """
    name = run.settings["corpus"]["name"]
    count = sum(1 for _ in read_documents(corpus, name))
    return Documents(corpus, name, held_out_documents(count, common_options(run.settings)), inverse=True)


def count_new(texts: Sequence[str], training: Iterable[str]) -> int:
    """Counts the texts that are not training documents; reads those once, and holds only the texts."""
    new = set(texts).difference(training)
    return sum(text in new for text in texts)


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
        distances=dict(sorted(Counter(round(each, 6) for each in distance.tolist()).items())),
        examples=tuple(
            Neighbour(text=texts[row], nearest=nearest[row], distance=float(distance[row])) for row in order[spread]
        ),
    )


def _blocks(documents: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yields documents in lists, at most ``size`` at a time and few enough to be held in memory."""
    for piece in in_pieces(documents):
        for start in range(0, len(piece), size):
            yield piece[start : start + size]
