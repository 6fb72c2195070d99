import numpy as np
import pytest

from textgen.testing.suites import ModelSuite
from textgen_mingru.model import MinGRU, MinGRUOptions


class TestMinGRU(ModelSuite):
    name = "mingru"
    options = {"units": 8, "layers": 1, "dropout": 0.1}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference(weights, ids, layers):
    """The formula of the paper, step by step in float64."""
    hidden = weights["embedding"][ids].astype(np.float64)
    states = []
    for layer in range(layers):
        projected = hidden @ weights[f"layers.{layer}.kernel"] + weights[f"layers.{layer}.bias"]
        gate, candidate = np.split(projected, 2, axis=-1)
        state, outputs = np.zeros(gate[:, 0].shape), []
        for step in range(ids.shape[1]):
            z = sigmoid(gate[:, step])
            state = (1 - z) * state + z * candidate[:, step]
            outputs.append(state)
        states.append(state)
        hidden = np.stack(outputs, axis=1)
    return hidden @ weights["head.kernel"] + weights["head.bias"], states


@pytest.mark.parametrize("time", [1, 2, 3, 8, 21])
def test_the_parallel_scan_equals_the_recurrence_step_by_step(time):
    model = MinGRU(MinGRUOptions(units=6, layers=2), vocab_size=5)
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in model.tensor_shapes.items()}
    model.load_weights(weights)
    ids = rng.integers(0, 5, (3, time)).astype(np.int32)
    logits, state = model.forward(ids, model.state_spec.initial_state(3))
    expected, expected_states = reference(weights, ids, layers=2)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    for layer, array in enumerate(expected_states):
        np.testing.assert_allclose(state[f"{layer}.h"], array, atol=1e-5)
