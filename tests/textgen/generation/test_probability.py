"""Scores of generated texts."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.generation import runtime as module
from textgen.generation.probability import score
from textgen.generation.runtime import ModelRuntime
from textgen.testing.recurrent import FixedGRU, FixedGRUOptions

SIZE = 7


ids = st.integers(0, SIZE - 1)


@given(
    texts=st.lists(st.lists(ids, min_size=1, max_size=40), min_size=1, max_size=9),
    numbers=st.integers(1, 20_000),
    likeliest=st.integers(0, SIZE + 1),
)
@settings(max_examples=60)
def test_scores_are_those_of_the_logits_in_pieces_of_any_size(texts, numbers, likeliest):
    runtime = ModelRuntime(FixedGRU(FixedGRUOptions(), SIZE))
    rows = [np.array(text, np.int32) for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "NUMBERS_AT_ONCE", numbers)
        scores, after = score(runtime, rows, runtime.initial_state(len(texts)), likeliest)
    for row, (found, text) in enumerate(zip(scores, texts, strict=True)):
        logits, state = runtime.forward(np.array([text[:-1]], np.int32), runtime.initial_state(1))
        odds = np.exp(logits[0].astype(np.float64))
        nats = np.log(odds / odds.sum(axis=1, keepdims=True))
        expected = [nats[at, text[at + 1]] for at in range(len(text) - 1)]
        assert found.log_probabilities == pytest.approx(expected, rel=1e-6, abs=1e-6)
        best = [sorted(range(SIZE), key=lambda i: (-logits[0, at, i], i))[:likeliest] for at in range(len(text) - 1)]
        assert found.likeliest.tolist() == best
        assert found.of_likeliest.shape == found.likeliest.shape
        for at, chosen in enumerate(best):
            assert found.of_likeliest[at] == pytest.approx(nats[at, chosen], rel=1e-6, abs=1e-6)
        np.testing.assert_allclose(after["0.h"][row], state["0.h"][0], atol=1e-6)


def test_memory_does_not_grow_with_the_texts_nor_their_length(monkeypatch):
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", 2**20)
    runtime = ModelRuntime(FixedGRU(FixedGRUOptions(units=4), 5001))

    def peak(rows: int, length: int) -> int:
        texts = [np.ones(length, np.int32)] * rows
        tracemalloc.start()
        try:
            score(runtime, texts, runtime.initial_state(rows), likeliest=3)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many, long = peak(16, 32), peak(256, 32), peak(16, 512)
    assert many < few + 10e6 < 256 * 32 * 5001 * 4
    assert long < few + 10e6
