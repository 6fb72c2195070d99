"""The model ``ngram`` for textgen, and its runtime."""

from __future__ import annotations

from textgen import Register, hookimpl


@hookimpl
def textgen_register_models(register: Register) -> None:
    """Registers the model."""
    register("ngram", "textgen_ngram.model:NGram", "Counts n-grams, with Witten-Bell smoothing; needs no TensorFlow.")


@hookimpl
def textgen_register_runtimes(register: Register) -> None:
    """Registers the model's native runtime: textgen's, which calls the model's own forward pass."""
    register("ngram", "textgen:ModelRuntime", "Runs an n-gram model, on the CPU.")
