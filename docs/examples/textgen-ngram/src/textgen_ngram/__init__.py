"""The model ``ngram`` for textgen, and the runtime that runs it."""

from __future__ import annotations

from textgen import Register, hookimpl


@hookimpl
def textgen_register_models(register: Register) -> None:
    """Name the model."""
    register("ngram", "textgen_ngram.model:NGram", "Counts n-grams, with Witten-Bell smoothing; needs no TensorFlow.")


@hookimpl
def textgen_register_runtimes(register: Register) -> None:
    """Name the runtime that the model asks for: its own forward pass, as textgen has it."""
    register("ngram", "textgen:ModelRuntime", "Runs an n-gram model, on the CPU.")
