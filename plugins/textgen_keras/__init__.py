"""Recurrent models trained with Keras on TensorFlow, the runtime that runs them, and the recipes that use them.

The public names are those in ``__all__``: the base classes of a Keras model, and the options of its training. Each is
imported when it is first used, so that the plugin itself loads without TensorFlow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from textgen import Register, hookimpl

if TYPE_CHECKING:
    from textgen_keras.keras_model import KerasModel
    from textgen_keras.stateful_network import StatefulNetwork
    from textgen_keras.training.options import GradientOptions

__all__ = ["GradientOptions", "KerasModel", "StatefulNetwork"]

#: The module of each public name.
_HOMES = {
    "GradientOptions": "textgen_keras.training.options",
    "KerasModel": "textgen_keras.keras_model",
    "StatefulNetwork": "textgen_keras.stateful_network",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


@hookimpl
def textgen_register_models(register: Register) -> None:
    register("gru", "textgen_keras.models:GRU", "Gated recurrent units, one to eight layers.")
    register("lstm", "textgen_keras.models:LSTM", "Long short-term memory, one to eight layers.")


@hookimpl
def textgen_register_runtimes(register: Register) -> None:
    register("keras", "textgen_keras.runtime:KerasRuntime", "Keras on TensorFlow, on the CPU or a GPU.")


@hookimpl
def textgen_register_recipes(register: Register) -> None:
    register(
        "shakespeare-gru",
        "textgen_keras.recipes:SHAKESPEARE_GRU",
        "Shakespeare's plays in shuffled windows, GRU 1024, 5 epochs.",
    )
    register(
        "shakespeare-gru-stateful",
        "textgen_keras.recipes:SHAKESPEARE_GRU_STATEFUL",
        "Shakespeare's plays with the state carried from batch to batch, GRU 1024, 30 epochs.",
    )
    register(
        "agnews-lstm",
        "textgen_keras.recipes:AGNEWS_LSTM",
        "News titles, one per row, LSTM 128 on one-hot characters in sorted order.",
    )
    register(
        "agnews-lstm-frequency",
        "textgen_keras.recipes:AGNEWS_LSTM_FREQUENCY",
        "News titles, one per row, LSTM 128 on one-hot characters in order of frequency.",
    )
    register(
        "dinos-gru",
        "textgen_keras.recipes:DINOS_GRU",
        "Dinosaur names, one per row, GRU 1024 with carried state, 20 epochs.",
    )
    register(
        "agnews-labels",
        "textgen_keras.recipes:AGNEWS_LABELS",
        "News titles by class, of the test split: LSTM 160 on 2,000 parts of words.",
    )
