"""Runtimes read prompts in pieces: the same state, in memory that does not grow with the prompt."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.generation import runtime as module
from textgen.generation.runtime import ModelRuntime, Runtime
from textgen.model.state import State
from textgen.testing import CountingModel, CountingOptions
from textgen.testing.recurrent import FixedGRU, FixedGRUOptions

SIZE = 5


def counting() -> Runtime:
    model = CountingModel(CountingOptions(smoothing=1), SIZE)
    counts = np.random.default_rng(0).integers(0, 9, (SIZE + 1, SIZE, SIZE))
    model.load_weights({"counts": counts.astype(np.float32)})
    return ModelRuntime(model)


def recurrent(vocab_size: int = SIZE) -> Runtime:
    return ModelRuntime(FixedGRU(FixedGRUOptions(), vocab_size))


def same(found: State, expected: State) -> None:
    assert set(found) == set(expected)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6)


@pytest.fixture(scope="module")
def runtimes() -> list[Runtime]:
    return [counting(), recurrent()]


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    numbers=st.integers(1, 20_000),
    all_count=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_reading_in_pieces_is_reading_at_once(runtimes, lengths, numbers, all_count, seed):
    ids = np.random.default_rng(seed).integers(0, SIZE, (len(lengths), max(lengths))).astype(np.int32)
    counts = None if all_count else np.array(lengths, np.int32)
    for runtime in runtimes:
        before = runtime.forward(ids[:, :3], runtime.initial_state(len(ids)))[1]
        expected = runtime.forward(ids, before, counts)[1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "NUMBERS_AT_ONCE", numbers)
            same(runtime.prefill(ids, before, counts), expected)
            pieces = list(runtime.pieces(ids, counts))
        assert np.array_equal(np.concatenate([ids[:, :0], *(piece for piece, _ in pieces)], axis=1), ids)
        assert {piece.shape[1] * len(ids) * SIZE <= numbers or piece.shape[1] == 1 for piece, _ in pieces} <= {True}
        if counts is not None and pieces:
            assert np.array_equal(sum(left for _, left in pieces if left is not None), counts)


def peak(runtime: Runtime, length: int, rows: int) -> int:
    """Bytes that reading prompts takes at most."""
    ids = np.ones((rows, length), np.int32)
    state = runtime.initial_state(rows)
    tracemalloc.start()
    try:
        runtime.prefill(ids, state)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_prompt(monkeypatch):
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", 2**18)
    runtime = recurrent(vocab_size=1000)
    for length, rows in ((4000, 1), (100, 64)):
        assert peak(runtime, length, rows) < 2 * 2**18 * 4 < 4000 * 1000 * 4 / 2
