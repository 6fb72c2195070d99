"""The public names of ``textgen_keras``: available, lazy, and known to type checkers."""

import subprocess
import sys

import pytest

import textgen_keras

HEAVY = ("tensorflow", "keras", "numba")


@pytest.mark.keras
def test_every_public_name_can_be_imported():
    from textgen_keras.keras_model import KerasModel
    from textgen_keras.stateful_network import StatefulNetwork

    assert sorted(textgen_keras.__all__) == sorted(textgen_keras._HOMES)
    assert textgen_keras.KerasModel is KerasModel
    assert textgen_keras.StatefulNetwork is StatefulNetwork


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'textgen_keras' has no attribute 'no_such_name'"):
        getattr(textgen_keras, "no_such_name")  # noqa: B009


def test_the_base_of_a_model_imports_nothing_heavy():
    program = f"import sys; from textgen_keras import KerasModel; print(*{{*sys.modules}} & {{*{HEAVY!r}}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_importing_the_plugin_imports_none_of_its_modules():
    program = "import sys, textgen_keras; print(*[name for name in sys.modules if name.startswith('textgen_keras.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
