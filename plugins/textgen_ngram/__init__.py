"""The model ``ngram``: Kneser-Ney counts, a yardstick that takes seconds and needs no TensorFlow."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_models(register: Register) -> None:
    register("ngram", "textgen_ngram.model:NGram", "Counts n-grams, with Kneser-Ney smoothing; trains in seconds.")
