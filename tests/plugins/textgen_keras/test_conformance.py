"""The bundled models and their runtime in the conformance suites for third parties."""

import pytest

from textgen.testing.suites import ModelSuite, RuntimeSuite

pytestmark = pytest.mark.keras

SMALL = {"units": 8, "embedding_dim": 4}


class TestGRU(ModelSuite):
    name = "gru"
    options = SMALL
    training = {"learning_rate": 0.02}


class TestLSTM(ModelSuite):
    name = "lstm"
    options = {"units": 8, "layers": 2, "input": "one-hot", "dropout": 0.1}
    training = {"learning_rate": 0.05}


class TestWithAnNGram(ModelSuite):
    name = "gru"
    options = {**SMALL, "ngram": 40}
    training = {"learning_rate": 0.02}


class TestKeras(RuntimeSuite):
    name = "keras"
    model = {"name": "gru", **SMALL}
