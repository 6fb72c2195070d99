import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from textgen.sampling import draw
from textgen.sampling.draw import random_words
from textgen.sampling.philox import AT_ONCE, stream_words

words = st.integers(0, 2**64 - 1)
streams = st.lists(st.tuples(words, words, st.integers(0, 2**62)), max_size=5)


def numpys(key, start, count):
    """Words of the stream of a key, by NumPy."""
    generator = np.random.Philox(key=np.array(key, np.uint64)).advance(start // 4)
    return generator.random_raw(start % 4 + count)[start % 4 :]


@given(streams, st.integers(0, 40))
def test_words_of_any_streams_are_those_of_numpy(streams, count):
    keys = np.array([key for *key, _ in streams], np.uint64).reshape(-1, 2)
    found = stream_words(keys, np.array([start for *_, start in streams], np.int64), count)
    assert found.shape == (count, len(streams))
    assert found.dtype == np.uint64
    for column, (*key, start) in zip(found.T, streams, strict=True):
        assert column.tolist() == numpys(key, start, count).tolist()


def test_more_blocks_than_are_computed_at_once():
    rows = AT_ONCE + 3
    found = stream_words(np.array([[7, row] for row in range(rows)], np.uint64), np.arange(rows), 6)
    for row in range(0, rows, 101):
        assert found[:, row].tolist() == numpys((7, row), row, 6).tolist()


@given(words, st.integers(0, 2**64 - draw.MANY_ROWS - 1), st.integers(0, 2**40), st.integers(0, draw.FEW_WORDS + 1))
def test_the_words_of_a_row_do_not_depend_on_the_number_of_rows(seed, first, start, steps):
    rows = range(first, first + draw.MANY_ROWS)
    found = random_words(seed, rows, start, steps)
    for place in (0, 1, draw.MANY_ROWS - 1):
        assert found[:, place].tolist() == random_words(seed, [rows[place]], start, steps)[:, 0].tolist()
