"""What a notebook has set before it trains changes nothing, and is as it was afterwards."""

import decimal
import random
import subprocess
import sys
import warnings
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest

import textgen
from textgen.errors import UnavailableError
from textgen.runs.artifact import Artifact

pytestmark = [pytest.mark.keras, pytest.mark.slow]

TEXT = "the cat sat on the mat\nand that was that\n" * 12


@contextmanager
def keras_float64():
    import keras

    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    keras.config.set_epsilon(1e-3)
    keras.config.set_image_data_format("channels_first")
    yield
    assert (keras.config.floatx(), keras.config.dtype_policy().name) == ("float64", "float64")
    assert (keras.config.epsilon(), keras.config.image_data_format()) == (1e-3, "channels_first")
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")


@contextmanager
def keras_mixed():
    import keras

    keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    assert keras.config.dtype_policy().name == "mixed_float16"
    keras.mixed_precision.set_global_policy("float32")


@contextmanager
def tensorflow_eager():
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    tf.config.optimizer.set_jit(True)
    yield
    assert tf.config.functions_run_eagerly()
    assert tf.config.optimizer.get_jit() == "autoclustering"
    tf.config.run_functions_eagerly(False)
    tf.config.optimizer.set_jit(False)


@contextmanager
def seeds():
    import keras

    keras.utils.set_random_seed(99)
    state, numpy_state = random.getstate(), repr(np.random.get_state())
    yield
    assert random.getstate() == state
    assert repr(np.random.get_state()) == numpy_state


@contextmanager
def errors():
    former = np.seterr(all="raise")
    with warnings.catch_warnings(), decimal.localcontext() as context:
        warnings.simplefilter("error")
        context.prec = 2
        context.traps[decimal.Inexact] = True
        chosen = list(warnings.filters)
        yield
        assert list(warnings.filters) == chosen
        assert decimal.getcontext().prec == 2
    assert set(np.geterr().values()) == {"raise"}
    np.seterr(**former)


SURROUNDINGS = (keras_float64, keras_mixed, tensorflow_eager, seeds, errors)


def train(folder, path, model="gru"):
    settings: dict[str, dict[str, Any]] = {
        "model": {"units": 8, "dropout": 0.2},
        "training": {"length": 10, "batch_size": 4, "epochs": 1, "max_steps": 6, "sample_every": 1, "seed": 3},
        "generation": {"length": 20},
    }
    generator = textgen.train(path, model, settings=settings, out=folder / model)
    text = textgen.load(folder / model, runtime="keras").generate("the", seed=1, length=20)
    return Artifact.open(generator.artifact.path).weights(), text


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "cat.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def expected(text, tmp_path_factory):
    return train(tmp_path_factory.mktemp("plain"), text)


@pytest.mark.parametrize("surroundings", SURROUNDINGS, ids=lambda each: each.__name__)
def test_what_a_process_has_set_does_not_change_training(tmp_path, text, expected, surroundings):
    with surroundings():
        weights, written = train(tmp_path, text)
    assert written == expected[1]
    assert {name: array.dtype for name, array in weights.items()} == {
        name: array.dtype for name, array in expected[0].items()
    }
    for name, array in weights.items():
        np.testing.assert_array_equal(array, expected[0][name], err_msg=name)


def test_all_of_it_at_once(tmp_path, text, expected):
    with ExitStack() as stack:
        for surroundings in (keras_float64, tensorflow_eager, seeds, errors):
            stack.enter_context(surroundings())
        weights, _ = train(tmp_path, text)
    for name, array in weights.items():
        np.testing.assert_array_equal(array, expected[0][name], err_msg=name)


def test_a_graph_is_no_place_to_train(tmp_path, text):
    import tensorflow as tf

    with tf.Graph().as_default(), pytest.raises(UnavailableError, match=r"outside of tf\.Graph"):
        train(tmp_path, text)


LIMITED = """
import resource, sys
limit = int(sys.argv[1]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.argv[1:] = ["train", sys.argv[2], "--out", sys.argv[3]]
from textgen.cli import main
main()
"""


@pytest.mark.parametrize("megabytes", [450, 600, 900])
def test_a_limit_of_memory_is_reported_as_what_it_is(tmp_path, text, megabytes):
    command = [sys.executable, "-c", LIMITED, str(megabytes), str(text), str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "memory" in done.stderr
    assert "pip install" not in done.stderr
    assert "Traceback" not in done.stderr
