"""Recurrent models trained with Keras on TensorFlow, the runtime that runs them, and the recipes that use them."""

from __future__ import annotations

from textgen import Register, hookimpl


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
        "News titles, one a row, LSTM 128 on one-hot characters in sorted order.",
    )
    register(
        "agnews-lstm-frequency",
        "textgen_keras.recipes:AGNEWS_LSTM_FREQUENCY",
        "News titles, one a row, LSTM 128 on one-hot characters in order of frequency.",
    )
    register(
        "dinos-gru",
        "textgen_keras.recipes:DINOS_GRU",
        "Dinosaur names, one a row, GRU 1024 with carried state, 20 epochs.",
    )
