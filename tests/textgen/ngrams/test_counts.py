import numpy as np
from hypothesis import given

from tests.textgen.ngrams.definition import ORDERS, ROWS, V, count
from textgen import NGramCounts


def test_counts_do_not_depend_on_how_they_come():
    rng = np.random.default_rng(0)
    codes = rng.integers(1, 200, 5_000)
    expected, numbers = np.unique(codes, return_counts=True)
    for parts in (1, 7, 5_000):
        counts = NGramCounts(3, 5)
        for part in np.array_split(codes, parts):
            counts.add(part)
        counts.merge()
        np.testing.assert_array_equal(counts.codes, expected)
        np.testing.assert_array_equal(counts.counts, numbers)


def test_a_copy_does_not_change_with_what_it_was_made_of():
    counts = NGramCounts(2, V)
    counts.add(np.array([6, 7, 6]))
    copy = counts.copy()
    counts.add(np.array([7, 8]))
    counts.merge()
    assert (copy.codes.tolist(), copy.counts.tolist()) == ([6, 7], [2, 1])
    assert (counts.codes.tolist(), counts.counts.tolist()) == ([6, 7, 8], [2, 2, 1])


@given(ROWS, ORDERS)
def test_a_text_is_counted_in_the_ids_of_a_larger_vocabulary(rows, order):
    new_ids = [5, 0, 3, 2]  # of ids 0 to 3, among 6
    renamed = [[(new_ids[i], is_counted) for i, is_counted in row] for row in rows]
    for shorter in (order, 2):
        found = count(rows, order).with_ids(np.array([1, -1, 3, 2, -1, 0], np.int32), shorter)
        expected = count(renamed, shorter, 6)
        np.testing.assert_array_equal(found.codes, expected.codes)
        np.testing.assert_array_equal(found.counts, expected.counts)
