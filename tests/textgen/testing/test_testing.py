"""The tools of :mod:`textgen.testing`."""

import doctest
import importlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from textgen import hookimpl
from textgen.errors import ArtifactError, PluginError, UnknownNameError
from textgen.generation.runtime import ModelRuntime
from textgen.plugins.registry import plugins
from textgen.testing import CountingModel, CountingOptions, counting, registered

V = 5
ids = arrays.arrays(np.int32, st.tuples(st.integers(1, 3), st.integers(0, 8)), elements=st.integers(0, V - 1))


def model(smoothing: float = 1.0) -> CountingModel:
    counted = CountingModel(CountingOptions(smoothing=smoothing), V)
    counts = np.random.default_rng(1).integers(0, 9, (V + 1, V, V)).astype(np.float32)
    counted.load_weights({"counts": counts})
    return counted


@given(ids=ids, smoothing=st.sampled_from([0.1, 1, 20]))
def test_logits_are_the_logarithms_of_smoothed_shares(ids, smoothing):
    counted = model(smoothing)
    counts = counted.weights()["counts"]
    logits, _ = counted.forward(ids, counted.state_spec.initial_state(len(ids)))
    assert logits.shape == (*ids.shape, V)
    assert logits.dtype == np.float32
    for row, row_logits in zip(ids, logits, strict=True):
        for place, found in enumerate(row_logits):
            context = counts[row[place - 1] + 1 if place else 0, row[place]].astype(float) + smoothing
            np.testing.assert_allclose(np.exp(found), context / context.sum(), rtol=1e-5)


@given(ids=ids, data=st.data())
def test_reading_in_parts_is_reading_at_once(ids, data):
    runtime = ModelRuntime(model())
    cut = data.draw(st.integers(0, ids.shape[1]))
    start = runtime.initial_state(len(ids))
    whole, end = runtime.forward(ids, start)
    first, middle = runtime.forward(ids[:, :cut], start)
    second, last = runtime.forward(ids[:, cut:], middle)
    np.testing.assert_array_equal(np.concatenate([first, second], axis=1), whole)
    np.testing.assert_array_equal(last["before"], end["before"])
    assert end["before"].dtype == np.int32


@given(ids=ids, data=st.data())
def test_padding_is_not_read(ids, data):
    runtime = ModelRuntime(model())
    lengths = np.array([data.draw(st.integers(0, ids.shape[1])) for _ in ids], np.int32)
    start = runtime.initial_state(len(ids))
    after = runtime.prefill(ids, start, lengths)
    for row, length in enumerate(lengths):
        alone = runtime.prefill(ids[[row], :length], start.select([row]))
        assert after["before"][row] == alone["before"][0]


@pytest.mark.parametrize("tensors", [{}, {"counts": np.zeros((V, V, V))}, {"other": np.zeros((V + 1, V, V))}])
def test_weights_of_another_shape_are_an_error(tensors):
    with pytest.raises(ArtifactError, match="the weights have the shapes"):
        model().load_weights(tensors)


def test_weights_are_copies():
    counted = model()
    counted.weights()["counts"][:] = -1
    assert (counted.weights()["counts"] >= 0).all()


class Plugin:
    @hookimpl
    def textgen_register_samplers(self, register):
        register("ours", "textgen.sampling.sampler:Sampler")


def test_a_plugin_is_registered_for_a_while():
    before = plugins().plugins
    with registered(Plugin(), name="ours", distribution="our-samplers") as found:
        assert found is plugins()
        assert found.find("sampler", "ours").plugin.distribution == "our-samplers"
        assert len(found.plugins) == len(before) + 1
    with pytest.raises(UnknownNameError):
        plugins().get("sampler", "ours")
    assert plugins().plugins == before
    assert plugins().problems == []


def test_a_plugin_is_removed_after_failures_of_the_test_and_of_its_hooks():
    before = plugins().plugins
    with pytest.raises(ZeroDivisionError), registered(Plugin()):
        raise ZeroDivisionError

    class Fails:
        @hookimpl
        def textgen_batch_ended(self):
            raise ValueError

    with registered(Fails()) as found:
        for _ in range(3):
            found.life_cycle.notify("textgen_batch_ended")
        assert found.problems
    assert plugins().plugins == before
    assert plugins().problems == []


def test_plugins_can_be_nested_and_registered_again():
    for _ in range(2):
        with registered(Plugin(), name="a"), registered(counting, name="b"), registered(Plugin(), name="c") as found:
            with pytest.raises(PluginError, match="'ours' is claimed by testing 0 and testing 0"):
                found.get("sampler", "ours")
            assert found.get("model", "counting") is CountingModel


def test_a_plugin_that_cannot_be_registered_is_an_error():
    misspelt = SimpleNamespace(textgen_register_sampler=hookimpl(lambda register: None))
    with (
        pytest.raises(PluginError, match=r"cannot be registered: .*unknown hook 'textgen_register_sampler'"),
        registered(misspelt),
    ):
        pass
    assert plugins().problems == []


ROOT = Path(__file__).parents[3]
PACKAGES = [ROOT / "textgen", *(ROOT / "plugins" / name for name in ("textgen_samplers", "textgen_tokenizers"))]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_the_examples_in_docstrings_work(package):
    tried = 0
    for path in sorted(package.rglob("*.py")):
        name = ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        if name.endswith("__main__") or ".templates." in name:
            continue
        result = doctest.testmod(importlib.import_module(name))
        assert result.failed == 0, name
        tried += result.attempted
    assert tried > 5
