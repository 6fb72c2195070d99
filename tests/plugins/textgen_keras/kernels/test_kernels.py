"""What is compiled, and its parts, against NumPy; the layers against Keras's: see test_recurrence.py."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.keras

TIME, BATCH, UNITS, VOCAB = 40, 13, 21, 5  # more than a block of 128 rows for one core

sizes = st.one_of(st.integers(1, 9), st.integers(1, 300))


@pytest.fixture(scope="module")
def parts():
    """The parts of compiled functions, as functions."""
    import numba

    from textgen_keras.kernels import matmul as tiles
    from textgen_keras.kernels import packing as panels
    from textgen_keras.kernels import vectors as formulas

    @formulas.over_rows
    def both(x):
        return formulas.tanh(x), formulas.sigmoid(x)

    largest = formulas.folded(formulas.larger, -np.inf)

    @numba.njit
    def add_product(sums, left, right):
        tiles.add_product(sums, left, panels.pack(right))

    @numba.njit
    def add_product_transposed(sums, left, right):
        tiles.add_product(sums, left, panels.pack_transposed(right))

    @numba.njit
    def add_outer_products(sums, left, right):
        tiles.add_outer_products(sums, left, right)

    @numba.njit
    def activations(values, tanh, sigmoid):
        both(((values, 0),), ((tanh, 0), (sigmoid, 0)), (), len(values))

    @numba.njit
    def largest_from(values, begin):
        return largest((values, begin), len(values) - begin)

    return SimpleNamespace(
        add_product=add_product,
        add_product_transposed=add_product_transposed,
        add_outer_products=add_outer_products,
        activations=activations,
        largest_from=largest_from,
    )


@settings(max_examples=60, deadline=None)
@given(rows=sizes, inner=sizes, columns=sizes, dtype=st.sampled_from(["float32", "float64"]))
def test_products_equal_those_of_numpy(parts, rows, inner, columns, dtype):
    from textgen_keras.kernels import arrays
    from textgen_keras.kernels import matmul as tiles

    rng = np.random.default_rng(rows)
    left, right = rng.normal(size=(rows, inner)).astype(dtype), rng.normal(size=(inner, columns)).astype(dtype)
    before = rng.normal(size=(rows, columns)).astype(dtype)
    exact = before + left.astype(float) @ right
    # Of a sum of so many products, in whatever order: Higham 2002, "Accuracy and stability", (3.5).
    error = (inner + 1) * np.finfo(dtype).eps * (np.abs(before) + np.abs(left).astype(float) @ np.abs(right))

    for product, *factors in (
        (parts.add_product, left, right),
        (parts.add_product_transposed, left, np.ascontiguousarray(right.T)),
        (parts.add_outer_products, np.ascontiguousarray(left.T), right),
    ):
        sums = arrays.zeros((rows, tiles.padded(columns)), dtype)
        sums[:, :columns] = before
        product(sums, *factors)
        assert (np.abs(sums[:, :columns] - exact) <= error).all()


@given(values=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=70), begin=st.integers(0, 69))
def test_the_largest_of_a_row_is_found(parts, values, begin):
    row = np.array(values, np.float32)
    begin %= len(row)
    assert parts.largest_from(row, begin) == row[begin:].max()


@pytest.mark.parametrize(("dtype", "accuracy"), [("float32", 5e-7), ("float64", 1e-15)])
def test_tanh_and_sigmoid_are_as_good_as_promised(parts, dtype, accuracy):
    values = np.concatenate([np.linspace(-20, 20, 100_003), [0.0, 1e-30, -1e-30, 3e38, -3e38, np.inf, -np.inf, np.nan]])
    values = values.astype(dtype)
    tanh, sigmoid = np.empty_like(values), np.empty_like(values)
    parts.activations(values, tanh, sigmoid)
    exact = values.astype(float)
    np.testing.assert_allclose(tanh, np.tanh(exact), rtol=0, atol=accuracy)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-exact)), rtol=0, atol=accuracy)


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
    slopes = weights[:, None] * (softmax - np.eye(vocab)[targets])
    expected = [nats @ weights, slopes @ kernel.T, hidden.T @ slopes, slopes.sum(0)]

    time = next(divisor for divisor in (5, 3, 2, 1) if rows % divisor == 0)
    whole = hidden.reshape(time, -1, units)
    found = cross_entropy(whole, kernel, bias, *(array.reshape(time, -1).T for array in (targets, weights)))
    for ours, theirs in zip(found, expected, strict=True):
        scale = max(np.abs(theirs).max(), 1 / rows)
        assert (
            np.abs(np.reshape(ours, np.shape(theirs)) - theirs).max()
            <= scale * (spread + 10) * 30 * np.finfo(dtype).eps
        )


def test_a_logit_that_is_not_a_number_is_not_hidden():
    from textgen_keras.kernels.cross_entropy import cross_entropy

    kernel = np.ones((4, 5), np.float32)
    kernel[2, 3] = np.nan
    hidden, targets, weights = np.ones((9, 2, 4), np.float32), np.zeros((2, 9), np.int32), np.ones((2, 9), np.float32)
    nats, *_ = cross_entropy(hidden, kernel, np.zeros(5, np.float32), targets, weights)
    assert np.isnan(nats)


def read(cell, rng, *, time=TIME, batch=BATCH, units=UNITS, spoiled=False, is_look_up=True, worst=0, dtype="float32"):
    """All results of a layer for random weights and a random input: forward and backward."""
    from textgen_keras.kernels import layers

    def normal(*shape):
        return rng.normal(size=shape).astype(dtype)

    gates = {"gru": 3, "lstm": 4}[cell]
    rows = VOCAB if is_look_up else time * batch
    table, kernel = normal(rows, gates * units), normal(units, gates * units) * units**-0.5
    index = rng.integers(0, VOCAB, (batch, time)) if is_look_up else np.arange(rows).reshape(time, batch).T
    index = np.ascontiguousarray(index, np.int32)
    index[-1:, -1:] += worst
    state, upstream = normal(batch, units), normal(time, batch, units)
    if spoiled:
        kernel[3, 4] = np.nan
    if cell == "gru":
        bias = normal(units)
        states, *kept = layers.gru_forward(table, index, state, kernel, bias)
        return [states, *layers.gru_backward(upstream, table, index, kernel, states, *kept)]
    states, cells, activations = layers.lstm_forward(table, index, state, normal(batch, units), kernel)
    return [states, cells, *layers.lstm_backward(upstream, table, index, kernel, states, cells, activations)]


@pytest.mark.parametrize("sizes", [{}, {"is_look_up": False}, {"time": 3, "batch": 300, "units": 140}], ids=str)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_number_of_cores_does_not_matter(monkeypatch, cell, sizes):
    from concurrent.futures import ThreadPoolExecutor

    from textgen_keras.kernels import threads as cores

    found = []
    for count in (1, 2, 3, 8):
        with ThreadPoolExecutor(count) as pool:
            monkeypatch.setattr(cores, "_cores", lambda count=count, pool=pool: (count, pool))
            found.append([read(cell, np.random.default_rng(1), **sizes) for _ in range(2)])
    for first, again in found:  # the same cores, the same numbers
        for one, other in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, other)
    for (results, _), (expected, _) in zip(found[1:], found[:-1], strict=True):
        for one, other in zip(results, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", [1, 21, 24, 32, 80])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_what_is_kept_may_go_past_the_cache(monkeypatch, cell, units, dtype):
    from textgen_keras.kernels import arrays
    from textgen_keras.kernels import layers as compiled_layers

    state = arrays.zeros((2, 3, units), dtype)
    found = []
    for largest in (0, 2**60):
        monkeypatch.setattr(compiled_layers, "LARGEST_KEPT", largest)
        is_aligned = units * np.dtype(dtype).itemsize % 64 == 0
        assert compiled_layers._goes_past_cache(state, state) == (is_aligned and not largest)
        found.append(read(cell, np.random.default_rng(1), units=units, dtype=dtype))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_cores_may_share_a_kernel(monkeypatch, cell):
    from textgen_keras.kernels import packing as panels

    found = []
    for largest in (0, 2**60):
        monkeypatch.setattr(panels, "LARGEST_OWN", largest)
        assert bool(len(panels.shared_panels(np.ones((3, 4), np.float32)))) == (not largest)
        found.append(read(cell, np.random.default_rng(1)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_cores_may_share_the_kernel_of_a_head(monkeypatch):
    from textgen_keras.kernels import packing as panels
    from textgen_keras.kernels.cross_entropy import cross_entropy

    rng = np.random.default_rng(1)
    hidden, kernel, bias = (rng.normal(size=size).astype(np.float32) for size in ((9, 7, 30), (30, 70), (70,)))
    targets, weights = rng.integers(0, 70, (7, 9)).astype(np.int32), np.ones((7, 9), np.float32)
    expected = cross_entropy(hidden, kernel, bias, targets, weights)
    monkeypatch.setattr(panels, "LARGEST_OWN", 0)
    for ours, theirs in zip(cross_entropy(hidden, kernel, bias, targets, weights), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_what_is_not_a_number_is_not_hidden(cell):
    states, *_ = read(cell, np.random.default_rng(1), spoiled=True)
    assert np.isfinite(states[0]).all()
    assert np.isnan(states[-1]).any()


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("worst", [-9, VOCAB])
def test_an_id_out_of_range_is_an_error(cell, worst):
    with pytest.raises(ValueError, match="ids must be from 0 to 4, got "):
        read(cell, np.random.default_rng(1), worst=worst)


def test_a_target_out_of_range_is_an_error():
    from textgen_keras.kernels.cross_entropy import cross_entropy

    ones = np.ones((3, 3), np.float32)
    with pytest.raises(ValueError, match="ids must be from 0 to 2, got 1 to 3"):
        cross_entropy(ones[None], ones, ones[0], np.array([[1], [2], [3]], np.int32), ones[:, :1])


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_no_row_at_all_has_no_gradient(cell):
    _, *results = read(cell, np.random.default_rng(1), batch=0)
    assert not any(result.any() for result in results)


NARROW = """
import sys, llvmlite.binding, pytest
features = llvmlite.binding.get_host_cpu_features()
features.update({name: False for name in features if name.startswith(("avx512", "avx10", "amx"))})
llvmlite.binding.get_host_cpu_features = lambda: features
from textgen_keras.kernels.vectors import WIDTH
assert WIDTH == 8
sys.exit(pytest.main([sys.argv[1], "-q", "-p", "no:cacheprovider", "-k", "products or largest or past_the_cache"]))
"""


def test_a_processor_with_narrower_vectors_computes_the_same(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "narrow")}
    program = [sys.executable, "-c", NARROW, __file__]
    done = subprocess.run(program, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


PROGRAM = """
import numpy as np
from textgen_keras.kernels.cross_entropy import cross_entropy
ones = np.ones((2, 2), np.float32)
print(cross_entropy(ones[None], ones, ones[0], np.zeros((2, 1), np.int32), ones[:, :1])[0])
"""


@pytest.mark.parametrize("kept", ["whole", "damaged", "nowhere"])
def test_machine_code_is_kept_for_other_processes_where_it_can_be(tmp_path, kept):
    folder = tmp_path / "cache"

    def run():
        program = [sys.executable, "-c", PROGRAM]
        environment = os.environ | {"NUMBA_CACHE_DIR": str(folder)}
        done = subprocess.run(program, capture_output=True, text=True, check=True, env=environment)
        assert float(done.stdout) == pytest.approx(2 * np.log(2))

    if kept == "nowhere":
        folder.write_text("no folder")
        run()
        return
    run()
    files = {path: path.read_bytes() for path in folder.rglob("*.nb?")}
    assert files
    if kept == "damaged":
        for path in files:
            path.write_bytes(b"")
    run()
    if kept == "whole":
        assert {path: path.read_bytes() for path in folder.rglob("*.nb?")} == files


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_no_step_at_all_leaves_the_state_and_has_no_gradient(cell):
    states, *results = read(cell, np.random.default_rng(1), time=0)
    assert states.shape == (1, BATCH, UNITS)
    assert not any(result.any() for result in results if result.shape[0] != 1)
