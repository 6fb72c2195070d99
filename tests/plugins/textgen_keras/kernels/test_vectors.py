"""Formulas over rows against NumPy, and all kernels on a processor with narrower vectors."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.keras


@pytest.fixture(scope="module")
def loops():
    """Formulas over rows, as functions that Python can call."""
    import numba

    from textgen_keras.kernels import vectors

    @vectors.over_rows
    def both(x):
        return vectors.tanh(x), vectors.sigmoid(x)

    largest = vectors.folded(vectors.larger, -np.inf)

    @vectors.over_rows
    def scaled_sum(x, factor, y):
        return (x * factor + y,)

    @numba.njit
    def activations(values, tanh, sigmoid):
        both(((values, 0),), ((tanh, 0), (sigmoid, 0)), len(values))

    @numba.njit
    def largest_from(values, begin):
        return largest((values, begin), len(values) - begin)

    @numba.njit
    def add_scaled(x, factor, y):
        scaled_sum(((x, 0), factor, (y, 0)), ((y, 0),), len(x))

    return SimpleNamespace(activations=activations, largest_from=largest_from, add_scaled=add_scaled)


@given(values=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=70), begin=st.integers(0, 69))
def test_the_largest_of_a_row_is_found(loops, values, begin):
    row = np.array(values, np.float32)
    begin %= len(row)
    assert loops.largest_from(row, begin) == row[begin:].max()


@pytest.mark.parametrize("length", [0, 1, 15, 16, 21, 70])
def test_a_number_stands_for_a_row_filled_with_it(loops, length):
    x, y = np.arange(length, dtype=np.float32), np.ones(length, np.float32)
    loops.add_scaled(x, 2, y)
    np.testing.assert_array_equal(y, 2 * x + 1)


@pytest.mark.parametrize(("dtype", "accuracy"), [("float32", 5e-7), ("float64", 1e-15)])
def test_tanh_and_sigmoid_are_as_accurate_as_promised(loops, dtype, accuracy):
    values = np.concatenate([np.linspace(-20, 20, 100_003), [0.0, 1e-30, -1e-30, 3e38, -3e38, np.inf, -np.inf, np.nan]])
    values = values.astype(dtype)
    tanh, sigmoid = np.empty_like(values), np.empty_like(values)
    loops.activations(values, tanh, sigmoid)
    exact = values.astype(float)
    np.testing.assert_allclose(tanh, np.tanh(exact), rtol=0, atol=accuracy)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-exact)), rtol=0, atol=accuracy)


NARROW = """
import sys, llvmlite.binding, pytest
features = llvmlite.binding.get_host_cpu_features()
features.update({name: False for name in features if name.startswith(("avx512", "avx10", "amx"))})
llvmlite.binding.get_host_cpu_features = lambda: features
from textgen_keras.kernels.vectors import WIDTH
assert WIDTH == 8
sys.exit(pytest.main([sys.argv[1], "-q", "-p", "no:cacheprovider", "-k", "products or largest or past_the_cache"]))
"""


@pytest.mark.slow  # it compiles all layers for another processor, unless their machine code is cached already
def test_a_processor_with_narrower_vectors_computes_the_same():
    program = [sys.executable, "-c", NARROW, str(Path(__file__).parent)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "22 passed" in done.stdout
