import math
import subprocess
import sys
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textgen.errors import UnavailableError, UnsupportedModelError
from textgen.model.state import State
from textgen_numpy.runtime import NumpyRuntime

CELLS = ("gru", "lstm")

#: A bound for the error of a float32 result, and for the difference of two whose additions are in another order, which
#: is up to the processor. A logit or gate of the networks here adds at most 8 products, which come to less than 8 in
#: all; each addition rounds by at most 2**-24 of the sum: 8 * 8 * 2**-24 < 4e-6. Errors shrink on their way through the
#: gates. A wrong formula changes the logits by far more than 1e-2.
ROUNDING = 1e-5


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def by_the_book(network, ids):
    """The textbook formulas for one row, number by number in double precision: logits, and the state by name."""
    sequence = [np.eye(network.vocab_size)[i] if network.embedding is None else network.embedding[i] for i in ids]
    state = {}
    for index, layer in enumerate(network.layers):
        units = layer.units
        kernel, recurrent = layer.kernel.astype(float), layer.recurrent_kernel.astype(float)
        h, c, outputs = [0.0] * units, [0.0] * units, []
        for x in sequence:
            of_x = [sum(a * b for a, b in zip(x, column, strict=True)) for column in kernel.T]
            of_h = [sum(a * b for a, b in zip(h, column, strict=True)) for column in recurrent.T]
            new_h, new_c = [], []
            for u in range(units):
                if layer.cell == "gru":
                    bias, more = layer.bias.astype(float)
                    at_z, at_r, at_h = u, units + u, 2 * units + u
                    z = sigmoid(of_x[at_z] + bias[at_z] + of_h[at_z] + more[at_z])
                    r = sigmoid(of_x[at_r] + bias[at_r] + of_h[at_r] + more[at_r])
                    candidate = math.tanh(of_x[at_h] + bias[at_h] + r * (of_h[at_h] + more[at_h]))
                    new_h.append(z * h[u] + (1 - z) * candidate)
                else:
                    i, f, g, o = (
                        of_x[gate * units + u] + of_h[gate * units + u] + layer.bias[gate * units + u]
                        for gate in range(4)
                    )
                    new_c.append(sigmoid(f) * c[u] + sigmoid(i) * math.tanh(g))
                    new_h.append(sigmoid(o) * math.tanh(new_c[u]))
            h, c = new_h, new_c
            outputs.append(h)
        sequence = outputs
        state[f"{index}.h"] = h
        if layer.cell == "lstm":
            state[f"{index}.c"] = c
    logits = np.array(sequence) @ network.head_kernel.astype(float) + network.head_bias
    return logits, state


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("width", [None, 3])
def test_logits_and_state_are_those_of_the_formulas(make_network, cell, layers, width):
    network = make_network(cell, layers, width=width)
    runtime = NumpyRuntime(network)
    ids = np.random.default_rng(0).integers(0, 7, (3, 6)).astype(np.int32)
    logits, state = runtime.forward(ids, runtime.initial_state(3))
    assert logits.dtype == np.float32
    runtime.state_spec.check(state)
    for row in range(3):
        expected, expected_state = by_the_book(network, ids[row])
        np.testing.assert_allclose(logits[row], expected, atol=ROUNDING)
        for name, values in expected_state.items():
            np.testing.assert_allclose(state[name][row], values, atol=ROUNDING)


@pytest.mark.parametrize("cell", CELLS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_rows_of_any_lengths_are_computed_as_if_alone(make_network, cell, data):
    runtime = NumpyRuntime(make_network(cell, layers=2))
    lengths = np.array(data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=4)), np.int32)
    time = max(1, lengths.max())
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    ids = rng.integers(0, 7, (len(lengths), time)).astype(np.int32)
    start = State({n: rng.normal(size=a.shape).astype("f") for n, a in runtime.initial_state(len(lengths)).items()})
    logits, state = runtime.forward(ids, start, lengths)
    for row, length in enumerate(lengths):
        alone, alone_state = runtime.forward(ids[row : row + 1, :length], start.select([row]))
        np.testing.assert_allclose(logits[row, :length], alone[0], atol=ROUNDING)
        for name, array in alone_state.items():
            np.testing.assert_allclose(state[name][row], array[0], atol=ROUNDING)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("time", [5, 300])
def test_reading_in_parts_or_by_steps_or_without_logits_gives_the_same_state(make_network, cell, time):
    runtime = NumpyRuntime(make_network(cell, layers=2))
    ids = np.random.default_rng(1).integers(0, 7, (2, time)).astype(np.int32)
    logits, whole = runtime.forward(ids, runtime.initial_state(2))

    cut = time // 3
    first, state = runtime.forward(ids[:, :cut], runtime.initial_state(2))
    second, parts = runtime.forward(ids[:, cut:], state)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), logits, atol=ROUNDING)

    stepped = runtime.initial_state(2)
    for position in range(time):
        one, stepped = runtime.step(ids[:, position], stepped)
    np.testing.assert_allclose(one, logits[:, -1], atol=ROUNDING)

    read = runtime.prefill(ids, runtime.initial_state(2))
    for other in (parts, stepped, read):
        for name in whole:
            np.testing.assert_allclose(other[name], whole[name], atol=ROUNDING)


@pytest.mark.parametrize("cell", CELLS)
def test_prefill_stops_each_row_at_its_end(make_network, cell):
    runtime = NumpyRuntime(make_network(cell))
    ids = np.random.default_rng(2).integers(0, 7, (3, 200)).astype(np.int32)
    lengths = np.array([200, 130, 0], np.int32)
    state = runtime.prefill(ids, runtime.initial_state(3), lengths)
    for row, length in enumerate(lengths):
        alone = runtime.prefill(ids[row : row + 1, :length], runtime.initial_state(1))
        np.testing.assert_allclose(state["0.h"][row], alone["0.h"][0], atol=ROUNDING)


def test_the_state_that_is_passed_in_is_not_written_to(make_network):
    runtime = NumpyRuntime(make_network("lstm"))
    state = runtime.initial_state(2)
    runtime.step(np.array([1, 2], np.int32), state)
    assert not any(array.any() for array in state.values())


@pytest.mark.parametrize("cell", CELLS)
def test_large_weights_saturate_without_warnings(make_network, cell):
    network = make_network(cell)
    network.layers[0].kernel[:] *= 1e4
    runtime = NumpyRuntime(network)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logits, _ = runtime.forward(np.arange(7, dtype=np.int32)[None], runtime.initial_state(1))
    assert np.isfinite(logits).all()


def test_open_takes_the_description_of_the_model(make_network):
    network = make_network("gru")
    artifact: Any = SimpleNamespace(weights=network.tensors)

    def describe(weights):
        return network if weights.keys() == network.tensors().keys() else None

    model: Any = SimpleNamespace(native_runtime="keras", describe=describe)
    runtime = NumpyRuntime.open(artifact, lambda: model, device="auto")
    assert (runtime.vocab_size, runtime.device) == (7, "cpu")


def test_open_refuses_a_model_that_is_not_a_stack_and_names_its_runtime():
    artifact: Any = SimpleNamespace(weights=dict)
    model: Any = SimpleNamespace(describe=lambda weights: None, native_runtime="counts")
    with pytest.raises(UnsupportedModelError, match="--runtime counts"):
        NumpyRuntime.open(artifact, lambda: model)


def test_open_refuses_a_gpu():
    nothing: Any = None
    with pytest.raises(UnavailableError, match="use --device cpu"):
        NumpyRuntime.open(nothing, lambda: nothing, device="cuda:0")


def test_running_imports_no_training_library():
    program = """
import sys
import numpy as np
import textgen_numpy
from textgen.model.network import RecurrentNetwork
from textgen_numpy.runtime import NumpyRuntime
shapes = {"layers.0.kernel": (4, 8), "layers.0.recurrent_kernel": (2, 8), "layers.0.bias": (8,),
          "head.kernel": (2, 4), "head.bias": (4,)}
network = RecurrentNetwork.from_tensors("lstm", {name: np.ones(shape) for name, shape in shapes.items()})
runtime = NumpyRuntime(network)
runtime.forward(np.array([[1, 2]], np.int32), runtime.initial_state(1))
print(sorted({"tensorflow", "keras", "numba", "onnx", "onnxruntime"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
