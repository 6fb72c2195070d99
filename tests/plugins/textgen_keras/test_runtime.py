from types import SimpleNamespace
from typing import Any

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

#: Two float32 evaluations of one model differ by their order of summation, which depends on the number of rows and on
#: the CPU. In the models of :func:`make` a gate's input has 11 terms (4 inputs, 5 units, 2 biases) and partial sums
#: below 4, and so a rounding error of at most 11 * 4 * 2**-24 = 2.6e-6 in each of the two evaluations; sigmoid and tanh
#: do not enlarge it. A longer sum, such as of 256 inputs, would need a larger bound.
ATOL = 1e-5
MODELS = [
    pytest.param(model, kind, layers, id=f"{model.cell}-{kind}-{layers}")
    for model in (GRU, LSTM)
    for kind in ("embedding", "one-hot")
    for layers in (1, 2, 3)
]


def make(model, kind="embedding", layers=1):
    """A model whose weights, including biases, are far from 0."""
    width = 4 if kind == "embedding" else None
    made = model(RecurrentOptions(input=kind, embedding_dim=width, units=5, layers=layers, dropout=0.5), VOCAB)
    rng = np.random.default_rng(layers)
    made.load_weights({name: rng.normal(0, 0.5, shape).astype("f") for name, shape in made.tensor_shapes.items()})
    return made


def random_state(runtime, batch):
    rng = np.random.default_rng(batch)
    return State({name: rng.normal(size=a.shape).astype("f") for name, a in runtime.initial_state(batch).items()})


def assert_states_agree(state, expected):
    assert set(state) == set(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(state[name], array, atol=ATOL)


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
            np.testing.assert_allclose(logits[counts], expected[counts], atol=ATOL)
            assert_states_agree(after, expected_after)


@pytest.mark.parametrize("model", [GRU, LSTM])
def test_a_text_read_in_parts_gives_the_result_of_the_whole(model):
    runtime = KerasRuntime(make(model, layers=2))

    @settings(max_examples=15, deadline=None)
    @given(cut=st.integers(0, 8))
    def check(cut):
        ids = np.random.default_rng(cut).integers(0, VOCAB, (2, 8)).astype(np.int32)
        logits, whole = runtime.forward(ids, random_state(runtime, 2))
        first, state = runtime.forward(ids[:, :cut], random_state(runtime, 2))
        second, parts = runtime.forward(ids[:, cut:], state)
        np.testing.assert_allclose(np.concatenate([first, second], axis=1), logits, atol=ATOL)
        assert_states_agree(parts, whole)

    check()


def test_a_row_alone_is_the_row_in_a_batch():
    runtime = KerasRuntime(make(GRU))
    ids = np.random.default_rng(3).integers(0, VOCAB, (4, 6)).astype(np.int32)
    lengths = np.array([6, 2, 0, 4], np.int32)
    state = random_state(runtime, 4)
    logits, after = runtime.forward(ids, state, lengths)
    for row, length in enumerate(lengths):
        alone, alone_after = runtime.forward(ids[row : row + 1, :length], state.select([row]))
        np.testing.assert_allclose(logits[row, :length], alone[0], atol=ATOL)
        assert_states_agree(after.select([row]), alone_after)
        # The bound is far below the effect of a mistake: of one id too many.
        _, too_far = runtime.forward(np.append(ids[row : row + 1, :length], [[0]], axis=1), state.select([row]))
        assert np.abs(too_far["0.h"] - alone_after["0.h"]).max() > 1000 * ATOL


def test_the_order_of_a_states_tensors_does_not_matter():
    runtime = KerasRuntime(make(LSTM))
    state = random_state(runtime, 2)
    ids = np.array([1, 2], np.int32)
    reordered = State({name: state[name] for name in sorted(state)})
    assert list(reordered) != list(state)
    np.testing.assert_array_equal(runtime.step(ids, reordered)[0], runtime.step(ids, state)[0])


@pytest.mark.parametrize(("model", "kind", "layers"), MODELS)
def test_the_parameter_count_equals_that_of_keras(model, kind, layers):
    from textgen_keras.network.recurrent import KerasNetwork

    made = model(RecurrentOptions(input=kind, units=9, layers=layers), VOCAB)
    network = KerasNetwork(made.cell, made.options, VOCAB, seed=0)
    assert made.parameter_count == network.count_params()


def test_initial_weights_are_those_of_keras_by_default():
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
    artifact: Any = SimpleNamespace(weights=made.weights)
    runtime = KerasRuntime.open(artifact, lambda: fresh, device="cpu")
    ids, state = np.array([[1, 2, 3]], np.int32), runtime.initial_state(1)
    np.testing.assert_array_equal(runtime.forward(ids, state)[0], KerasRuntime(made).forward(ids, state)[0])
    assert (runtime.device, runtime.vocab_size) == ("cpu", VOCAB)


def test_open_refuses_the_weights_of_another_model():
    weights = make(GRU).weights()
    artifact: Any = SimpleNamespace(weights=lambda: weights)
    with pytest.raises(ArtifactError, match="the weights do not fit the model's options"):
        KerasRuntime.open(artifact, lambda: LSTM(RecurrentOptions(units=5), VOCAB))


def test_the_state_of_another_model_is_refused():
    runtime = KerasRuntime(make(GRU))
    with pytest.raises(ArtifactError, match="the state does not fit"):
        runtime.forward(np.array([[1]], np.int32), State({"0.h": np.zeros((1, 4), np.float32)}))


def test_without_a_gpu_the_error_says_what_is_missing():
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
    ("missing", "reported"),
    [
        (set(), [("tensorflow 2, keras 2, numba 2", "works")]),
        ({"numba"}, [("tensorflow 2, keras 2", "works"), ("Numba, for training", "absent")]),
        ({"keras", "numba"}, [("TensorFlow, for training", "absent")]),
    ],
)
def test_doctor_reports_missing_libraries(monkeypatch, missing, reported):
    from textgen_keras import runtime

    monkeypatch.setattr(runtime, "distribution_version", lambda name: "unknown" if name in missing else "2")
    assert [(check.what, check.status) for check in runtime.KerasRuntime.diagnose()] == reported
