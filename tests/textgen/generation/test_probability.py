"""Scores of generated texts."""

import tracemalloc
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.generation import runtime as module
from textgen.generation.probability import score_rows
from textgen.generation.runtime import ModelRuntime
from textgen.testing.recurrent import FixedGRU, FixedGRUOptions

SIZE = 7


def rows_of(texts: list[list[int]]) -> Any:
    return [SimpleNamespace(written=text) for text in texts]


ids = st.integers(0, SIZE - 1)


@given(
    texts=st.lists(
        st.tuples(st.lists(ids, min_size=1, max_size=9), st.lists(ids, max_size=30)), min_size=1, max_size=9
    ),
    numbers=st.integers(1, 20_000),
)
@settings(max_examples=60)
def test_a_score_is_the_sum_over_its_own_text_in_pieces_of_any_size(texts, numbers):
    runtime = ModelRuntime(FixedGRU(FixedGRUOptions(), SIZE))
    prompts = [np.array(prompt, np.int32) for prompt, _ in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "NUMBERS_AT_ONCE", numbers)
        scores = score_rows(
            runtime, prompts, rows_of([written for _, written in texts]), runtime.initial_state(len(texts))
        )
    for score, (prompt, written) in zip(scores, texts, strict=True):
        logits, _ = runtime.forward(np.array([prompt + written], np.int32), runtime.initial_state(1))
        odds = np.exp(logits[0].astype(np.float64))
        places = range(len(prompt), len(prompt + written))
        expected = sum(np.log(odds[at - 1, (prompt + written)[at]] / odds[at - 1].sum()) for at in places)
        assert score == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_memory_does_not_grow_with_the_texts_nor_their_length(monkeypatch):
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", 2**20)
    runtime = ModelRuntime(FixedGRU(FixedGRUOptions(units=4), 5001))

    def peak(rows: int, length: int) -> int:
        prompts = [np.ones(2, np.int32)] * rows
        texts = rows_of([[1] * length] * rows)
        tracemalloc.start()
        try:
            score_rows(runtime, prompts, texts, runtime.initial_state(rows))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many, long = peak(16, 8), peak(256, 8), peak(16, 128)
    assert many < few + 10e6 < 256 * 8 * 5001 * 4
    assert long < few + 10e6
