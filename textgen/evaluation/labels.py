"""Labels: how well the texts of each label are predicted, and whether what is written for a label is like its texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen.evaluation.n_grams import hashed_n_grams
from textgen.evaluation.novelty import Documents
from textgen.evaluation.scoring import Reading, judge
from textgen.generation.request import Generation, Request
from textgen.generation.runtime import Runtime
from textgen.text.encoded import EncodedText
from textgen.text.encoding import in_pieces
from textgen.text.labels import LabelledTokenizer

#: The characters of the n-grams that the classifier looks at: 1 to this many.
LONGEST = 6

#: n-grams are distinguished by a hash of at most this many bits; the counts of all labels are at most so many numbers.
BITS, COUNTS = 20, 2**24

#: Added to each count of an n-gram.
SMOOTHING = 0.3


@dataclass(frozen=True, kw_only=True)
class LabelScore:
    """The scores of one label, or of all labels together.

    Attributes:
        label: the label; ``None`` for all.
        documents: the number of held-out documents.
        characters: the number of characters judged, the end of each document among them.
        nats: their mean cross-entropy, given the label; ``None`` without documents, as is ``recognised``.
        recognised: the share of the held-out documents whose label the classifier names.
        texts: the number of texts written for the label.
        agreement: the share of these for which the classifier names the label.
    """

    label: str | None
    documents: int
    characters: int
    nats: float | None
    recognised: float | None
    texts: int
    agreement: float | None


@dataclass(frozen=True, kw_only=True)
class LabelEvaluation:
    """The evaluation of a run by label.

    Attributes:
        labels: each label, in the order of their ids.
        all: all labels together.
    """

    labels: tuple[LabelScore, ...]
    all: LabelScore


class LabelClassifier:
    """Names the label that a text is likest to, by the n-grams of characters that it has.

    Complement naive Bayes (Rennie, Shih, Teevan and Karger, Tackling the Poor Assumptions of Naive Bayes Text
    Classifiers, ICML 2003, section 3.1): an n-gram speaks for a label as far as it is rare in the documents of the
    other labels. Counted are n-grams of 1 to :data:`LONGEST` characters, once per text, in lower case, with one blank
    between words and around the text, so that those at the ends of words differ from those inside.

    Args:
        documents: the label and the text of each document to learn from; read once.
        labels: the labels to choose from; every document has one of them.

    Example:
        >>> classifier = LabelClassifier([("sea", "waves"), ("land", "hills"), ("sea", "a wave")], ["land", "sea"])
        >>> classifier.classify(["the waves", "a hill"])
        ['sea', 'land']
    """

    def __init__(self, documents: Iterable[tuple[str, str]], labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._bits = min(BITS, (COUNTS // len(self.labels)).bit_length() - 1)
        numbers = {label: number for number, label in enumerate(self.labels)}
        counts = np.zeros((len(self.labels), 1 << self._bits))
        for piece in in_pieces(documents, lambda document: len(document[1])):
            own = np.array([numbers[label] for label, _ in piece])
            rows, grams = _n_grams([text for _, text in piece], self._bits)
            np.add.at(counts, (own[rows], grams), 1)
        others = counts.sum(axis=0) - counts + SMOOTHING
        self._weights = -np.log(others / others.sum(axis=1, keepdims=True))

    def classify(self, texts: Sequence[str]) -> list[str]:
        """Returns the likeliest label of each text; ties go to the first label."""
        found: list[str] = []
        for piece in in_pieces(texts):
            rows, grams = _n_grams(piece, self._bits)
            scores = np.array([np.bincount(rows, weights[grams], len(piece)) for weights in self._weights])
            found += [self.labels[number] for number in scores.argmax(axis=0)]
        return found


def _n_grams(texts: Sequence[str], bits: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The hashed n-grams of texts, each once per text: the numbers of their texts and their hashes, ``[n]`` each."""
    spaced = [f" {' '.join(text.lower().split())} " for text in texts]
    keys = [
        (rows << bits) + (hashes >> np.uint64(64 - bits)).astype(np.int64)
        for _, rows, hashes in hashed_n_grams(spaced, range(1, LONGEST + 1))
    ]
    distinct = np.unique(np.concatenate(keys))
    return distinct >> bits, distinct & ((1 << bits) - 1)


def evaluate_labels(
    runtime: Runtime,
    tokenizer: LabelledTokenizer,
    *,
    encoded: EncodedText,
    held_out: Documents,
    training: Documents,
    characters_per_id: NDArray[Any],
    request: Request,
    write: Callable[[Request], list[Generation]],
) -> LabelEvaluation:
    """Evaluates a run by label.

    Args:
        runtime: the loaded model.
        tokenizer: the run's.
        encoded: the held-out documents, each beginning with the id of its label.
        held_out: the same as texts, in the same order.
        training: the documents that the classifier learns from.
        characters_per_id: the number of characters that each id stands for, ``[vocab]``.
        request: texts without labels; they are divided evenly among the labels, and the first labels get those that
            are left over.
        write: writes the texts of a request, one generation per row, in the order of the rows.

    Returns:
        The scores of each label, some of them ``None`` where there are no documents or no texts, and of all labels.
    """
    labels = tokenizer.labels
    classifier = LabelClassifier(training.labelled(), labels)
    documents = list(held_out.labelled())
    named = classifier.classify([text for _, text in documents])
    right = _by_label(labels, [label for label, _ in documents], named)
    generations = write(_divided(request, labels))
    asked = [generation.label or "" for generation in generations]
    agrees = _by_label(labels, asked, classifier.classify([generation.whole for generation in generations]))
    first = encoded.ids[encoded.offsets[:-1]]
    scores = []
    for label, label_id in zip(labels, tokenizer.label_ids, strict=True):
        characters, nats = 0, None
        reading = Reading.documents(encoded.select(np.flatnonzero(first == label_id)))
        if reading.predictions:
            judged = judge(runtime, reading, characters_per_id)
            characters, nats = judged.characters, judged.nats
        scores.append(_score(label, characters, nats, right[label], agrees[label]))
    all_characters = sum(score.characters for score in scores)
    all_nats = sum(score.nats * score.characters for score in scores if score.nats is not None)
    mean_nats = all_nats / all_characters if all_characters else None
    all_right, all_agrees = (list(chain.from_iterable(found.values())) for found in (right, agrees))
    total = _score(None, all_characters, mean_nats, all_right, all_agrees)
    return LabelEvaluation(labels=tuple(scores), all=total)


def _divided(request: Request, labels: Sequence[str]) -> Request:
    """A request whose rows are divided evenly among labels, those of one label side by side."""
    count = len(request.prompts)
    shares = [count // len(labels) + (number < count % len(labels)) for number in range(len(labels))]
    return replace(
        request,
        labels=tuple(label for label, share in zip(labels, shares, strict=True) for _ in range(share)),
        row_seeds=tuple(seed for share in shares for seed in range(share)),
    )


def _by_label(labels: Sequence[str], given: Iterable[str], named: Iterable[str]) -> Mapping[str, list[bool]]:
    """Whether the classifier named the label of each text, by label."""
    found: dict[str, list[bool]] = {label: [] for label in labels}
    for label, name in zip(given, named, strict=True):
        found[label].append(label == name)
    return found


def _score(
    label: str | None, characters: int, nats: float | None, right: Sequence[bool], agrees: Sequence[bool]
) -> LabelScore:
    return LabelScore(
        label=label,
        documents=len(right),
        characters=characters,
        nats=nats,
        recognised=float(np.mean(right)) if right else None,
        texts=len(agrees),
        agreement=float(np.mean(agrees)) if agrees else None,
    )
