from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from textgen.errors import ArtifactError
from textgen.model.network import GATES, RecurrentLayer, RecurrentNetwork
from textgen.model.state import TensorSpec

V = 5


def make(cell="gru", units=(3,), embedding=4, seed=0) -> RecurrentNetwork:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    width = embedding or V
    layers = []
    for size in units:
        columns = GATES[cell] * size
        bias = draw(2, columns) if cell == "gru" else draw(columns)
        layers.append(RecurrentLayer(cell, draw(width, columns), draw(size, columns), bias))
        width = size
    return RecurrentNetwork(draw(V, embedding) if embedding else None, tuple(layers), draw(width, V), draw(V))


networks = st.builds(
    make,
    st.sampled_from(["gru", "lstm"]),
    st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    st.sampled_from([0, 1, 4]),
    st.integers(0, 99),
)


@given(networks, st.lists(st.integers(0, V - 1), min_size=1, max_size=6))
def test_the_input_table_replaces_embedding_product_and_bias(network, ids):
    table = network.input_table()
    first = network.layers[0]
    vectors = np.eye(V, dtype=np.float32) if network.embedding is None else network.embedding
    bias = first.bias[0] if first.cell == "gru" else first.bias
    assert table.dtype == np.float32
    np.testing.assert_allclose(table[ids], vectors[ids].astype(float) @ first.kernel + bias, atol=1e-5)


@given(networks)
def test_from_tensors_is_the_inverse_of_tensors(network):
    tensors = network.tensors()
    again = RecurrentNetwork.from_tensors(network.layers[0].cell, tensors).tensors()
    assert again.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(again[name], array, strict=True)
    assert ("embedding" in tensors) == (network.embedding is not None)


def test_a_network_for_another_vocabulary_keeps_an_id():
    with pytest.raises(ValueError, match="must keep at least one id"):
        make().with_ids(np.full(3, -1, np.int32))


def test_the_state_has_one_set_of_tensors_per_layer():
    assert make("gru", (3, 2)).state_spec.tensors == (TensorSpec("0.h", (3,)), TensorSpec("1.h", (2,)))
    assert [tensor.name for tensor in make("lstm", (3, 2)).state_spec.tensors] == ["0.h", "0.c", "1.h", "1.c"]
    assert make().vocab_size == V


@given(networks, st.data())
def test_a_tensor_of_the_wrong_shape_is_named(network, data):
    tensors = dict(network.tensors())
    name = data.draw(st.sampled_from(sorted(tensors)))
    shape = data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=3).map(tuple))
    original = tensors[name].shape
    tensors[name] = np.zeros(shape, np.float32)
    assume(shape != original)
    with pytest.raises(ArtifactError, match=r"^tensor .* has shape .*, expected .*$"):
        RecurrentNetwork.from_tensors(network.layers[0].cell, tensors)


@pytest.mark.parametrize("part", ["kernel", "recurrent_kernel", "bias"])
def test_the_error_names_the_layer(part):
    tensors = make("lstm", (3, 3)).tensors() | {f"layers.1.{part}": np.zeros((7, 7), np.float32)}
    with pytest.raises(ArtifactError, match=r"tensor layers\.1\..* has shape"):
        RecurrentNetwork.from_tensors("lstm", tensors)


def test_the_shapes_depend_on_the_cell():
    with pytest.raises(ArtifactError, match="has shape"):
        RecurrentNetwork.from_tensors("lstm", make("gru").tensors())
    network = make("gru")
    with pytest.raises(ArtifactError, match="has shape"):
        replace(network, head_kernel=network.head_kernel.T)


@pytest.mark.parametrize("change", [{"missing": "head.bias"}, {"missing": "layers.0.bias"}, {"more": "head.scale"}])
def test_missing_and_superfluous_tensors_are_named(change):
    tensors = dict(make().tensors())
    tensors.pop(change.get("missing", ""), None)
    if "more" in change:
        tensors[change["more"]] = np.zeros(1, np.float32)
    (name,) = change.values()
    with pytest.raises(ArtifactError, match=name):
        RecurrentNetwork.from_tensors("gru", tensors)


def test_no_tensors_are_not_a_stack():
    with pytest.raises(ArtifactError, match="do not describe a gru stack"):
        RecurrentNetwork.from_tensors("gru", {})
