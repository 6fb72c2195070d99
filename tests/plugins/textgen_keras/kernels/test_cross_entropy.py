"""The head with its loss against NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.keras

sizes = st.one_of(st.integers(1, 9), st.integers(1, 300))


@settings(max_examples=40, deadline=None)
@given(
    rows=sizes,
    units=st.integers(1, 90),
    vocab=sizes,
    spread=st.sampled_from([0.0, 1.0, 100.0]),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_the_head_and_its_gradients_equal_those_of_numpy(rows, units, vocab, spread, dtype):
    from textgen_keras.kernels.cross_entropy import cross_entropy

    rng = np.random.default_rng(rows)
    hidden, kernel = rng.normal(size=(rows, units)), spread * rng.normal(size=(units, vocab)) / units**0.5
    bias, weights = rng.normal(size=vocab), rng.integers(0, 2, rows) / rows
    hidden, kernel, bias, weights = (array.astype(dtype) for array in (hidden, kernel, bias, weights))
    targets = rng.integers(0, vocab, rows).astype(np.int32)

    logits = hidden.astype(float) @ kernel + bias
    logits -= logits.max(1, keepdims=True)
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    nats = np.log(np.exp(logits).sum(1)) - logits[np.arange(rows), targets]
    d_logits = weights[:, None] * (softmax - np.eye(vocab)[targets])
    expected = [nats @ weights, d_logits @ kernel.T, hidden.T @ d_logits, d_logits.sum(0)]

    time = next(divisor for divisor in (5, 3, 2, 1) if rows % divisor == 0)
    whole = hidden.reshape(time, -1, units)
    found = cross_entropy(whole, kernel, bias, *(array.reshape(time, -1).T for array in (targets, weights)))
    for ours, theirs in zip(found, expected, strict=True):
        error = np.abs(np.reshape(ours, np.shape(theirs)) - theirs).max()
        scale = max(np.abs(theirs).max(), 1 / rows)
        assert error <= scale * (spread + 10) * 30 * np.finfo(dtype).eps


def test_a_logit_that_is_nan_is_not_hidden():
    from textgen_keras.kernels.cross_entropy import cross_entropy

    kernel = np.ones((4, 5), np.float32)
    kernel[2, 3] = np.nan
    hidden, targets, weights = np.ones((9, 2, 4), np.float32), np.zeros((2, 9), np.int32), np.ones((2, 9), np.float32)
    nats, *_ = cross_entropy(hidden, kernel, np.zeros(5, np.float32), targets, weights)
    assert np.isnan(nats)


def test_a_target_out_of_range_is_an_error():
    from textgen_keras.kernels.cross_entropy import cross_entropy

    ones = np.ones((3, 3), np.float32)
    with pytest.raises(ValueError, match="ids must be from 0 to 2, got 1 to 3"):
        cross_entropy(ones[None], ones, ones[0], np.array([[1], [2], [3]], np.int32), ones[:, :1])
