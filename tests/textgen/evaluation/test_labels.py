"""The classifier by which labels are judged."""

import csv
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from textgen.evaluation import labels
from textgen.evaluation.labels import LONGEST, SMOOTHING, LabelClassifier
from textgen.text import encoding

SEA, LAND = ["a wave", "Waves break", "the tide", "salt\nspray"], ["a hill", "hills roll", "the fields", "Dry  dust"]


def grams(text: str) -> set[str]:
    """The n-grams of a text, the slow way."""
    spaced = f" {' '.join(text.lower().split())} "
    return {spaced[at : at + n] for n in range(1, LONGEST + 1) for at in range(len(spaced) - n + 1)}


def test_it_is_complement_naive_bayes():
    """Against the formula, with a dictionary for the counts."""
    own = {
        "land": Counter(g for text in LAND for g in grams(text)),
        "sea": Counter(g for text in SEA for g in grams(text)),
    }
    size = 1 << labels.BITS

    def score(text: str, other: Counter[str]) -> float:
        total = other.total() + SMOOTHING * size
        return -sum(math.log((other[gram] + SMOOTHING) / total) for gram in grams(text))

    documents = [("sea", text) for text in SEA] + [("land", text) for text in LAND]
    texts = ["WAVE", "a dusty hill", "fielded", "tides", "x", "Salt and dust", "the", "é🦖"]
    expected = ["land" if score(t, own["sea"]) >= score(t, own["land"]) else "sea" for t in texts]
    assert set(expected) == {"land", "sea"}
    assert LabelClassifier(documents, ["land", "sea"]).classify(texts) == expected


@pytest.mark.parametrize("piece", [1, 20, 1 << 20])
def test_texts_are_judged_alone_whatever_the_pieces(monkeypatch, piece):
    monkeypatch.setattr(encoding, "PIECE", piece)
    documents = [("sea", text) for text in SEA] + [("land", text) for text in LAND]
    classifier = LabelClassifier(iter(documents), ["land", "sea"])
    texts = [*SEA, *LAND, "", " "]
    named = classifier.classify(texts)
    assert named[:8] == ["sea"] * 4 + ["land"] * 4
    assert named == [classifier.classify([text])[0] for text in texts]


def test_many_labels_take_no_more_memory():
    names = [str(number) for number in range(500)]
    classifier = LabelClassifier([(name, f"text {name}") for name in names], names)
    assert sum(part.nbytes for part in vars(classifier).values() if isinstance(part, np.ndarray)) <= 8 * labels.COUNTS
    assert classifier.classify(["text 17", "text 444"]) == ["17", "444"]


@pytest.mark.slow
def test_it_knows_the_class_of_most_news_titles(data_dir: Path):
    """Four classes, so a guess is right once in four times."""
    with (data_dir / "agnews" / "test.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row[0], row[1]) for row in csv.reader(file)]
    known, new = [row for n, row in enumerate(rows) if n % 5], rows[::5]
    named = LabelClassifier(known, ["1", "2", "3", "4"]).classify([title for _, title in new])
    assert np.mean([a == b for a, (b, _) in zip(named, new, strict=True)]) > 0.78
