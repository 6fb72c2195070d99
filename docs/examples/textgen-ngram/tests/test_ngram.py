import sys
from collections import Counter

import numpy as np
import pytest

import textgen
from textgen.errors import OptionError
from textgen.testing.suites import ModelSuite
from textgen_ngram.counts import Counts
from textgen_ngram.model import NGram, NGramOptions


class TestNGram(ModelSuite):
    name = "ngram"
    options = {"order": 3}


def witten_bell(grams, context, following, vocab_size):
    """The definition, recursive in the context; ``grams`` holds the counted n-grams as tuples of digits."""
    seen = Counter(gram[-1] for gram in grams if gram[: len(gram) - 1][-len(context) :] == context or not context)
    below = 1 / vocab_size if not context else witten_bell(grams, context[1:], following, vocab_size)
    if not seen or context[:2] == (0, 0):
        return below
    return (seen[following + 1] + len(seen) * below) / (sum(seen.values()) + len(seen))


@pytest.mark.parametrize("order", [2, 3, 5])
def test_probabilities_are_those_of_witten_and_bell(order):
    vocab_size, rng = 4, np.random.default_rng(order)
    digits = np.concatenate([np.zeros((3, order - 1), int), rng.integers(1, vocab_size + 1, (3, 30))], axis=1)
    grams = np.lib.stride_tricks.sliding_window_view(digits, order, axis=1).reshape(-1, order)
    counts = Counts(order, vocab_size)
    for part in np.array_split(grams, 4):
        counts.add(counts.encode(part), np.ones(len(part), np.int64))
    contexts = np.concatenate([grams[:, :-1], rng.integers(1, vocab_size + 1, (20, order - 1))])
    found = counts.probabilities(contexts[:, None], np.arange(vocab_size))
    counted = [tuple(gram) for gram in grams.tolist()]
    expected = [[witten_bell(counted, tuple(c), i, vocab_size) for i in range(vocab_size)] for c in contexts.tolist()]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_an_order_too_large_for_the_vocabulary_is_refused():
    NGram(NGramOptions(order=9), vocab_size=100)
    with pytest.raises(OptionError, match="use at most 9"):
        NGram(NGramOptions(order=10), vocab_size=100)


def test_it_trains_without_a_training_library(tmp_path):
    settings = {"training": {"sample_every": 0}}
    generator = textgen.train("dinos-lite", "ngram", settings=settings, out=tmp_path / "run")
    assert generator.artifact.manifest.metrics["held_out_loss"] < 1.8  # about the loss of a GRU
    assert textgen.load(tmp_path / "run").generate("Ty", seed=1).startswith("Ty")
    assert not {"tensorflow", "keras"} & sys.modules.keys()
