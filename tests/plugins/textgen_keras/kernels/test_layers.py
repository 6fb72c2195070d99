"""GRU and LSTM by themselves; network/test_layers.py compares them with Keras's."""

import numpy as np
import pytest

pytestmark = [pytest.mark.keras, pytest.mark.parametrize("cell", ["gru", "lstm"])]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step(cell, x, before, kernel, bias):
    """The state after a step, by the equations at the top of gru.py and lstm.py."""
    product = before[0] @ kernel
    if cell == "gru":
        (xz, xr, xg), (hz, hr, hg) = np.split(x, 3, -1), np.split(product, 3, -1)
        z = sigmoid(xz + hz)
        g = np.tanh(xg + sigmoid(xr + hr) * (hg + bias))
        return [z * before[0] + (1 - z) * g]
    ai, af, ag, ao = np.split(x + product, 4, -1)
    c = sigmoid(af) * before[1] + sigmoid(ai) * np.tanh(ag)
    return [sigmoid(ao) * np.tanh(c), c]


def test_a_layer_follows_its_equations_and_so_do_its_gradients(cell):
    from textgen_keras.kernels import gru, lstm

    module, gates = {"gru": (gru, 3), "lstm": (lstm, 4)}[cell]
    time, batch, units, vocab = 4, 2, 3, 5
    rng = np.random.default_rng(2)
    index = rng.integers(0, vocab, (batch, time)).astype(np.int32)
    shapes: dict[str, tuple[int, ...]] = {"table": (vocab, gates * units), "state": (batch, units)}
    shapes |= {"cell": (batch, units), "kernel": (units, gates * units)}
    if cell == "gru":
        del shapes["cell"]
        shapes["bias"] = (units,)
    arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    upstream = rng.normal(size=(time, batch, units))

    def run(arrays):
        state = [arrays[name] for name in ("state", "cell") if name in arrays]
        steps = [state]
        for t in range(time):
            steps.append(step(cell, arrays["table"][index[:, t]], steps[-1], arrays["kernel"], arrays.get("bias")))
        return [np.stack(parts) for parts in zip(*steps, strict=True)]

    def loss(arrays):
        return (upstream * run(arrays)[0][1:]).sum()

    states, *others = module.forward(index=index, **arrays)
    expected = run(arrays)
    for ours, theirs in zip([states, *others], expected, strict=False):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13)

    gradients = module.backward(upstream, arrays["table"], index, arrays["kernel"], states, *others)
    for (name, array), gradient in zip(arrays.items(), gradients, strict=True):
        for place in np.ndindex(array.shape):
            shifted = [arrays | {name: array.copy()} for _ in range(2)]
            for sign, each in zip((1, -1), shifted, strict=True):
                each[name][place] += sign * 1e-5
            slope = (loss(shifted[0]) - loss(shifted[1])) / 2e-5
            assert gradient[place] == pytest.approx(slope, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", [1, 21, 24, 32, 80])
def test_results_may_be_written_past_the_cache(run_layer, monkeypatch, cell, units, dtype):
    from textgen_keras.kernels import arrays, layers

    state = arrays.zeros((2, 3, units), dtype)
    found = []
    for largest in (0, 2**60):
        monkeypatch.setattr(layers, "LARGEST_KEPT", largest)
        is_aligned = units * np.dtype(dtype).itemsize % 64 == 0
        assert layers.goes_past_cache(state, state) == (is_aligned and not largest)
        found.append(run_layer(cell, units=units, dtype=dtype))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_nan_is_not_hidden(run_layer, cell):
    def spoil(arrays):
        arrays["kernel"][3, 4] = np.nan

    states, *_ = run_layer(cell, edit=spoil)
    assert np.isfinite(states[0]).all()
    assert np.isnan(states[-1]).any()


@pytest.mark.parametrize("shift", [-9, 5])
def test_an_id_out_of_range_is_an_error(run_layer, cell, shift):
    def spoil(arrays):
        arrays["index"][-1, -1] += shift

    with pytest.raises(ValueError, match="ids must be from 0 to 4, got "):
        run_layer(cell, edit=spoil)


def test_without_rows_there_is_no_gradient(run_layer, cell):
    _, *results = run_layer(cell, batch=0)
    assert not any(result.any() for result in results)


def test_without_steps_the_state_is_unchanged_and_there_is_no_gradient(run_layer, cell):
    states, *results = run_layer(cell, time=0)
    assert states.shape == (1, 13, 21)
    assert not any(result.any() for result in results if result.shape[0] != 1)
