from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.errors import ArtifactError, OptionError, UnavailableError
from textgen.model.state import State
from textgen_keras.devices import resolve_device
from textgen_keras.models import GRU, LSTM
from textgen_keras.network.options import RecurrentOptions
from textgen_keras.runtime import KerasRuntime
from textgen_numpy.runtime import NumpyRuntime

pytestmark = pytest.mark.keras

VOCAB = 6
MODELS = [
    pytest.param(model, kind, layers, id=f"{model.cell}-{kind}-{layers}")
    for model in (GRU, LSTM)
    for kind in ("embedding", "one-hot")
    for layers in (1, 2, 3)
]


def make(model, kind="embedding", layers=1):
    """A model whose weights, biases among them, are far from 0."""
    made = model(RecurrentOptions(input=kind, units=5, layers=layers, dropout=0.5), VOCAB)
    rng = np.random.default_rng(layers)
    made.load_weights({name: rng.normal(0, 0.5, shape).astype("f") for name, shape in made.tensor_shapes.items()})
    return made


def random_state(runtime, batch):
    rng = np.random.default_rng(batch)
    return State({name: rng.normal(size=a.shape).astype("f") for name, a in runtime.initial_state(batch).items()})


def assert_states_agree(state, expected, atol=1e-5):
    assert set(state) == set(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(state[name], array, atol=atol)


@pytest.mark.parametrize(("model", "kind", "layers"), MODELS)
def test_keras_and_numpy_agree(model, kind, layers):
    made = make(model, kind, layers)
    keras, numpy = KerasRuntime(made), NumpyRuntime(made.describe(made.weights()))
    for lengths in ([4], [3, 0, 7, 1, 5]):
        ids = np.random.default_rng(len(lengths)).integers(0, VOCAB, (len(lengths), 7)).astype(np.int32)
        state = random_state(numpy, len(lengths))
        for ragged in (None, np.array(lengths, np.int32)):
            logits, after = keras.forward(ids, state, ragged)
            expected, expected_after = numpy.forward(ids, state, ragged)
            assert logits.dtype == np.float32
            keras.state_spec.check(after)
            counts = np.ones(ids.shape, bool) if ragged is None else np.arange(7) < ragged[:, None]
            np.testing.assert_allclose(logits[counts], expected[counts], atol=1e-5)
            assert_states_agree(after, expected_after)


@pytest.mark.parametrize("model", [GRU, LSTM])
def test_one_text_in_parts_is_the_text_at_once(model):
    runtime = KerasRuntime(make(model, layers=2))

    @settings(max_examples=15, deadline=None)
    @given(cut=st.integers(0, 8))
    def check(cut):
        ids = np.random.default_rng(cut).integers(0, VOCAB, (2, 8)).astype(np.int32)
        logits, whole = runtime.forward(ids, random_state(runtime, 2))
        first, state = runtime.forward(ids[:, :cut], random_state(runtime, 2))
        second, parts = runtime.forward(ids[:, cut:], state)
        np.testing.assert_allclose(np.concatenate([first, second], axis=1), logits, atol=1e-6)
        assert_states_agree(parts, whole, 1e-6)

    check()


def test_a_row_alone_is_the_row_in_a_batch():
    runtime = KerasRuntime(make(GRU))
    ids = np.random.default_rng(3).integers(0, VOCAB, (4, 6)).astype(np.int32)
    lengths = np.array([6, 2, 0, 4], np.int32)
    state = random_state(runtime, 4)
    logits, after = runtime.forward(ids, state, lengths)
    for row, length in enumerate(lengths):
        alone, alone_after = runtime.forward(ids[row : row + 1, :length], state.select([row]))
        np.testing.assert_allclose(logits[row, :length], alone[0], atol=1e-6)
        assert_states_agree(after.select([row]), alone_after, 1e-6)


def test_the_order_of_a_states_tensors_does_not_matter():
    runtime = KerasRuntime(make(LSTM))
    state = random_state(runtime, 2)
    ids = np.array([1, 2], np.int32)
    turned = State({name: state[name] for name in sorted(state)})
    assert list(turned) != list(state)
    np.testing.assert_array_equal(runtime.step(ids, turned)[0], runtime.step(ids, state)[0])


@pytest.mark.parametrize(("model", "kind", "layers"), MODELS)
def test_parameter_count_is_what_keras_counts(model, kind, layers):
    from textgen_keras.network.recurrent import KerasNetwork

    made = model(RecurrentOptions(input=kind, units=9, layers=layers), VOCAB)
    network = KerasNetwork(made.cell, made.options, VOCAB, seed=0)
    assert made.parameter_count == network.count_params()


def test_initial_weights_are_keras_defaults():
    model = LSTM(RecurrentOptions(units=64, input="one-hot"), VOCAB)
    weights = model.weights()
    recurrent = weights["layers.0.recurrent_kernel"].astype(float)
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(64), atol=1e-5)
    np.testing.assert_array_equal(weights["layers.0.bias"], np.repeat([0, 1, 0, 0], 64))
    bound = np.sqrt(6 / (VOCAB + 256))
    assert 0.9 * bound < np.abs(weights["layers.0.kernel"]).max() <= bound


def test_open_loads_the_weights_of_an_artifact():
    made = make(GRU)
    fresh = GRU(made.options, VOCAB)
    runtime = KerasRuntime.open(SimpleNamespace(weights=made.weights), lambda: fresh, device="cpu")
    ids, state = np.array([[1, 2, 3]], np.int32), runtime.initial_state(1)
    np.testing.assert_array_equal(runtime.forward(ids, state)[0], KerasRuntime(made).forward(ids, state)[0])
    assert (runtime.device, runtime.vocab_size) == ("cpu", VOCAB)


def test_open_refuses_the_weights_of_another_model():
    weights = make(GRU).weights()
    with pytest.raises(ArtifactError, match="the weights do not fit the model's options"):
        KerasRuntime.open(SimpleNamespace(weights=lambda: weights), lambda: LSTM(RecurrentOptions(units=5), VOCAB))


def test_a_state_of_another_model_is_refused():
    runtime = KerasRuntime(make(GRU))
    with pytest.raises(ArtifactError, match="the state does not fit"):
        runtime.forward(np.array([[1]], np.int32), State({"0.h": np.zeros((1, 4), np.float32)}))


def test_cuda_without_a_gpu_says_what_is_missing():
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    for device in ("cuda", "cuda:1"):
        with pytest.raises(UnavailableError, match=f"TensorFlow cannot use {device}: .*--device cpu"):
            resolve_device(device)
    assert resolve_device("auto") == "cpu"


@pytest.mark.parametrize("device", ["gpu", "cpu:0", "cuda:", "cuda:x", "auto:1", ""])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(OptionError, match="unknown device"):
        resolve_device(device)


@pytest.mark.parametrize(
    ("missing", "told"),
    [
        (set(), [("tensorflow 2, keras 2, numba 2", "works")]),
        ({"numba"}, [("tensorflow 2, keras 2", "works"), ("Numba, for training", "absent")]),
        ({"keras", "numba"}, [("TensorFlow, for training", "absent")]),
    ],
)
def test_doctor_tells_what_training_lacks(monkeypatch, missing, told):
    from textgen_keras import runtime

    monkeypatch.setattr(runtime, "distribution_version", lambda name: "unknown" if name in missing else "2")
    assert [(finding.what, finding.status) for finding in runtime.KerasRuntime.diagnose()] == told
