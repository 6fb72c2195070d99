"""The bundled character tokenizers."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_tokenizers(register: Register) -> None:
    register(
        "string-lookup",
        "textgen_tokenizers.string_lookup:StringLookup",
        "[UNK] is 0, sorted characters follow from 1, as in keras.layers.StringLookup.",
    )
    register(
        "char-eos",
        "textgen_tokenizers.char_eos:CharEos",
        "Padding is 0, characters follow from 1 (sorted or by frequency), <eos> is last.",
    )
    register(
        "char-index",
        "textgen_tokenizers.char_index:CharIndex",
        "Sorted characters from 0, without special tokens.",
    )
