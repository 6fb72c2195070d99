"""Products of tiles against NumPy's."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.keras

sizes = st.one_of(st.integers(1, 9), st.integers(1, 300))


@pytest.fixture(scope="module")
def products():
    """Parts of compiled functions, as functions that Python can call."""
    from textgen_keras.kernels import matmul, packing
    from textgen_keras.kernels.jit import compiled

    @compiled
    def add_product(sums, left, right):
        matmul.add_product(sums, left, packing.pack(right))

    @compiled
    def add_product_transposed(sums, left, right):
        matmul.add_product(sums, left, packing.pack_transposed(right))

    @compiled
    def add_outer_products(sums, left, right):
        matmul.add_outer_products(sums, left, right)

    return SimpleNamespace(
        add_product=add_product,
        add_product_transposed=add_product_transposed,
        add_outer_products=add_outer_products,
    )


@settings(max_examples=60, deadline=None)
@given(rows=sizes, inner=sizes, columns=sizes, dtype=st.sampled_from(["float32", "float64"]))
def test_products_equal_those_of_numpy(products, rows, inner, columns, dtype):
    from textgen_keras.kernels import arrays, matmul

    rng = np.random.default_rng(rows)
    left, right = rng.normal(size=(rows, inner)).astype(dtype), rng.normal(size=(inner, columns)).astype(dtype)
    before = rng.normal(size=(rows, columns)).astype(dtype)
    exact = before + left.astype(float) @ right
    # The bound for a sum of so many products in any order: Higham 2002, "Accuracy and stability", (3.5).
    error = (inner + 1) * np.finfo(dtype).eps * (np.abs(before) + np.abs(left).astype(float) @ np.abs(right))

    for product, *factors in (
        (products.add_product, left, right),
        (products.add_product_transposed, left, np.ascontiguousarray(right.T)),
        (products.add_outer_products, np.ascontiguousarray(left.T), right),
    ):
        sums = arrays.zeros((rows, matmul.padded(columns)), dtype)
        sums[:, :columns] = before
        product(sums, *factors)
        assert (np.abs(sums[:, :columns] - exact) <= error).all()
