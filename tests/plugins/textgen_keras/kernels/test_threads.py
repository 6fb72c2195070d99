"""Work shared by cores."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytestmark = pytest.mark.keras


@pytest.mark.parametrize("sizes", [{}, {"is_look_up": False}, {"time": 3, "batch": 300, "units": 140}], ids=str)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_number_of_cores_does_not_matter(run_layer, monkeypatch, cell, sizes):
    from textgen_keras.kernels import threads

    found = []
    for count in (1, 2, 3, 8):
        with ThreadPoolExecutor(count) as pool:
            monkeypatch.setattr(threads, "_cores", lambda count=count, pool=pool: (count, pool))
            found.append([run_layer(cell, **sizes) for _ in range(2)])
    for first, again in found:  # the same number of cores, the same numbers
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, other)
    # What rows compute alone is the same to the bit; the gradients by table, kernel and bias are sums over rows.
    exact = {"gru": [0, 2], "lstm": [0, 1, 3, 4]}[cell]  # the states, and the gradients by the first of them
    for (results, _), (expected, _) in zip(found[1:], found[:-1], strict=True):
        for place, (one, other) in enumerate(zip(results, expected, strict=True)):
            tolerance = 0 if place in exact else 1e-4
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("size", [0, 1, 4, 5, 17, 64, 300])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_shares_are_whole_steps_and_cover_all_rows(monkeypatch, count, size):
    from textgen_keras.kernels import threads

    monkeypatch.setattr(threads, "_cores", lambda: (count, None))
    shares = threads.shares(size, 4)
    assert 1 <= len(shares) <= count
    assert [row for begin, end in shares for row in range(begin, end)] == list(range(size))
    assert all((end - begin) % 4 == 0 for begin, end in shares[:-1])


def test_the_cores_are_those_that_the_process_may_use():
    from textgen import usable_cores
    from textgen_keras.kernels import threads

    assert threads._cores()[0] == usable_cores()
