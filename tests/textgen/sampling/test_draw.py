import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from textgen.errors import OptionError
from textgen.options import Options
from textgen.plugins.registry import plugins
from textgen.sampling.chain import Chain
from textgen.sampling.draw import Draw, uniforms
from textgen.sampling.sampler import Selector


class NthOptions(Options):
    n: int = Field(1)


class Nth(Selector):
    Options = NthOptions

    options: NthOptions

    def select(self, logits, uniforms):
        return np.full(len(logits), self.options.n, np.int32)


def make(text: str) -> Chain:
    return Chain(text, lambda name: Nth if name == "nth" else plugins().get("sampler", name))


def test_rows_share_the_names_of_a_chain_and_its_selector():
    Draw([make("top-k(3) | greedy"), make("top-k(4) | greedy")], 5)
    for others in ("top-p(0.5) | greedy", "top-k(3) | multinomial", "greedy"):
        with pytest.raises(OptionError, match="must share the names of their sampler chain"):
            Draw([make("top-k(3) | greedy"), make(others)], 5)
    with pytest.raises(OptionError, match="must share"):
        Draw([make("nth(1)"), make("nth(2)")], 5)


def test_something_must_be_left_to_draw():
    Draw([make("greedy")], 3, (0, 2))
    with pytest.raises(OptionError, match="every id of the vocabulary is forbidden"):
        Draw([make("greedy")], 3, (0, 1, 2))


words = st.integers(0, 2**64 - 1)


@given(seed=words, rows=st.lists(words, max_size=4), start=st.integers(0, 10_000), steps=st.integers(0, 40))
def test_uniforms_are_words_of_numpys_philox(seed, rows, start, steps):
    found = uniforms(seed, rows, start, steps)
    assert found.shape == (steps, len(rows))
    assert found.dtype == np.float32
    for column, row in zip(found.T, rows, strict=True):
        stream = np.random.Philox(key=np.array([seed, row], np.uint64)).random_raw(start + steps)[start:]
        assert [int(u * 2**24) for u in column.tolist()] == [int(word) >> 40 for word in stream]
        assert all((u * 2**24).is_integer() and 0 <= u < 1 for u in column.tolist())


def test_uniforms_far_along_a_stream_are_those_of_a_generator_that_was_advanced():
    start = 2**40
    generator = np.random.Philox(key=np.array([3, 4], np.uint64)).advance(start // 4)
    assert (uniforms(3, [4], start, 5)[:, 0] * 2**24).tolist() == (generator.random_raw(5) >> np.uint64(40)).tolist()


def test_uniforms_fill_the_unit_interval_and_rows_and_seeds_are_independent():
    columns = uniforms(0, range(6), 0, 20_000).astype(np.float64)
    columns = np.concatenate([columns, uniforms(1, [0], 0, 20_000)], axis=1)
    assert columns.min() < 1e-3
    assert columns.max() > 1 - 1e-3
    np.testing.assert_allclose(columns.mean(axis=0), 0.5, atol=0.01)
    correlation = np.corrcoef(columns.T) - np.eye(7)
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)
