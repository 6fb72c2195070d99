"""Kernels too large for each core to have a copy."""

import numpy as np
import pytest

pytestmark = pytest.mark.keras


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_cores_may_share_a_kernel(run_layer, monkeypatch, cell):
    from textgen_keras.kernels import packing

    found = []
    for largest in (0, 2**60):
        monkeypatch.setattr(packing, "LARGEST_OWN", largest)
        assert bool(len(packing.shared_panels(np.ones((3, 4), np.float32)))) == (not largest)
        found.append(run_layer(cell))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_cores_may_share_the_kernel_of_a_head(monkeypatch):
    from textgen_keras.kernels import packing
    from textgen_keras.kernels.cross_entropy import cross_entropy

    rng = np.random.default_rng(1)
    hidden, kernel, bias = (rng.normal(size=size).astype(np.float32) for size in ((9, 7, 30), (30, 70), (70,)))
    targets, weights = rng.integers(0, 70, (7, 9)).astype(np.int32), np.ones((7, 9), np.float32)
    expected = cross_entropy(hidden, kernel, bias, targets, weights)
    monkeypatch.setattr(packing, "LARGEST_OWN", 0)
    for ours, theirs in zip(cross_entropy(hidden, kernel, bias, targets, weights), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
