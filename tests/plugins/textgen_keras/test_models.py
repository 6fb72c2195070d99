import subprocess
import sys

import numpy as np
import pytest

from textgen.errors import ArtifactError, OptionError, UnavailableError
from textgen.options import build_options
from textgen_keras.libraries import needs_numba, require_tensorflow
from textgen_keras.models import GRU, LSTM, RecurrentModel
from textgen_keras.network.options import RecurrentOptions


def make(model: type[RecurrentModel], vocab_size: int, **options: object) -> RecurrentModel:
    return model(build_options(RecurrentOptions, options, where="model"), vocab_size)


def zeros(model: RecurrentModel) -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, np.float32) for name, shape in model.tensor_shapes.items()}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": 0}, "model.units must be at least 1"),
        ({"units": 4097}, "model.units must be at most 4096"),
        ({"layers": 9}, "model.layers must be at most 8"),
        ({"dropout": 1}, "model.dropout must be below 1"),
        ({"input": "onehot"}, "model.input must be 'embedding' or 'one-hot'"),
        ({"input": "one-hot", "embedding_dim": 8}, "embedding_dim has no meaning with input=one-hot; leave it out"),
        ({"unit": 8}, "did you mean units"),
        ({"ngram": 1}, "ngram must be 0, for none, or at least 2"),
        ({"ngram_powers": (1, 1)}, "ngram_powers has no meaning with ngram=0; leave it out"),
        ({"ngram": 9, "ngram_powers": (1,)}, "model.ngram_powers lacks its value 2"),
        ({"ngram": 9, "ngram_powers": (1, -1)}, "ngram_powers must be two numbers from 0 to 100"),
    ],
)
def test_an_option_out_of_range_is_refused_in_one_line(options, message):
    with pytest.raises(OptionError, match=message) as raised:
        build_options(RecurrentOptions, options, where="model")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("given", [{"input": "one-hot"}, {"embedding_dim": 8}, {}])
def test_options_survive_the_artifact(given):
    options = build_options(RecurrentOptions, given, where="model")
    assert build_options(RecurrentOptions, options.model_dump(mode="json"), where="model") == options


def test_the_description_has_the_weights_and_state_of_the_model():
    model = make(LSTM, 7, units=4, layers=2, embedding_dim=3)
    network = model.describe(zeros(model))
    assert {name: array.shape for name, array in network.tensors().items()} == model.tensor_shapes
    assert network.state_spec == model.state_spec
    assert [tensor.name for tensor in model.state_spec.tensors] == ["0.h", "0.c", "1.h", "1.c"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head.bias": None}, "head.bias is missing"),
        ({"layers.1.kernel": np.zeros((4, 12))}, "tensor layers.1.kernel is not expected"),
        ({"layers.0.kernel": np.zeros((3, 9))}, r"layers.0.kernel has shape \[3, 9\], expected \[3, 12\]"),
        ({"embedding": None}, "embedding is missing"),
    ],
)
def test_weights_of_another_model_are_refused_in_one_line(change, message):
    model = make(GRU, 7, units=4, embedding_dim=3)
    tensors = {name: array for name, array in (zeros(model) | change).items() if array is not None}
    with pytest.raises(ArtifactError, match=message) as raised:
        model.describe(tensors)
    assert "\n" not in str(raised.value)


def test_without_tensorflow_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UnavailableError, match=r'^training needs TensorFlow: pip install "textgen-rnn\[train\]"$'):
        make(GRU, 7).weights()


def test_without_numba_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "textgen_keras.kernels.cross_entropy", raising=False)
    monkeypatch.delitem(sys.modules, "textgen_keras.kernels.jit", raising=False)
    with (
        pytest.raises(UnavailableError, match=r'^training needs Numba: pip install "textgen-rnn\[train\]"$'),
        needs_numba(),
    ):
        import textgen_keras.kernels.cross_entropy  # noqa: F401


def test_another_backend_of_keras_is_refused(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    with pytest.raises(UnavailableError, match=r"Keras is set to 'jax'.*set KERAS_BACKEND=tensorflow"):
        require_tensorflow()


def test_plugin_models_and_recipes_import_no_training_library():
    program = """
import sys
import textgen_keras, textgen_keras.models, textgen_keras.recipes, textgen_keras.runtime
model = textgen_keras.models.GRU(textgen_keras.models.RecurrentOptions(), 9)
model.parameter_count, model.state_spec
print(sorted({"tensorflow", "keras", "numba"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.keras
@pytest.mark.slow
def test_a_thread_waits_for_the_libraries_that_another_one_imports():
    program = """
import sys, threading, time
from textgen_keras.libraries import require_tensorflow
thread = threading.Thread(target=require_tensorflow)
thread.start()
while "keras" not in sys.modules:
    time.sleep(0.001)
require_tensorflow()
thread.join()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, "Error" in done.stderr) == (0, False), done.stderr
