from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen import Batch
from textgen_keras.training.noise import add_noise, draw_resets

SHARES = np.array([0.4, 0.3, 0.2, 0.1])


def batch_of(ids, weights=None):
    ids = np.asarray(ids, np.int32)
    weights = np.ones(ids.shape) if weights is None else np.asarray(weights)
    return Batch(ids, ids + 1, weights.astype(np.float32), resets_state=False)


def test_a_share_of_the_ids_is_replaced_by_their_frequencies():
    batch = batch_of(np.random.default_rng(0).choice(4, (40, 50), p=SHARES))
    counts, share, steps = np.zeros((4, 4)), 0.2, 100
    for step in range(steps):
        np.add.at(counts, (batch.inputs, add_noise(batch, share, (), seed=3, step=step).inputs), 1)
    occurrences = np.bincount(batch.inputs.ravel())
    became = (1 - share) * np.eye(4) + share * occurrences / batch.inputs.size
    expected = steps * occurrences[:, None] * became
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 39.2  # exceeded once in 10,000 with 12 degrees of freedom


@given(st.data(), st.floats(0, 0.99), st.integers(0, 2**32 - 1), st.integers(0, 10**9))
def test_only_ids_of_text_whose_target_counts_are_replaced_by_such_ids(data, share, seed, step):
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 9)))
    size = shape[0] * shape[1]
    ids, weights = (
        np.reshape(data.draw(st.lists(st.integers(0, most), min_size=size, max_size=size)), shape) for most in (6, 1)
    )
    batch, marks = batch_of(ids, weights), data.draw(st.sets(st.integers(0, 6)))
    noisy = add_noise(batch, share, tuple(marks), seed=seed, step=step)
    changed = noisy.inputs != ids
    assert marks.isdisjoint(ids[changed])
    assert weights[changed].all()
    assert {*noisy.inputs[changed]} <= {*ids[weights > 0]} - marks
    assert noisy.inputs.dtype == np.int32
    assert replace(noisy, inputs=batch.inputs) == replace(batch, inputs=batch.inputs)  # the same arrays
    np.testing.assert_array_equal(batch.inputs, ids)
    again = add_noise(batch, share, tuple(marks), seed=seed, step=step)
    np.testing.assert_array_equal(again.inputs, noisy.inputs)


def test_noise_and_resets_differ_by_seed_and_step():
    batch = batch_of(np.random.default_rng(0).choice(4, (40, 50), p=SHARES))
    noises = [add_noise(batch, 0.5, (), seed=seed, step=step).inputs for seed, step in [(0, 0), (1, 0), (0, 1)]]
    resets = [draw_resets(100, 0.5, seed=seed, step=step) for seed, step in [(0, 0), (1, 0), (0, 1), (0, 0)]]
    assert len({each.tobytes() for each in noises}) == 3
    assert len({each.tobytes() for each in resets}) == 3


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5])
def test_a_share_of_the_rows_is_reset(share):
    resets = np.stack([draw_resets(64, share, seed=5, step=step) for step in range(1000)])
    assert resets.shape == (1000, 64)
    assert resets.mean() == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / resets.size))
