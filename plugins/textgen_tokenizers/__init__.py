"""The bundled character tokenizers."""

from textgen import Register, hookimpl


@hookimpl
def textgen_register_tokenizers(register: Register) -> None:
    register(
        "string-lookup",
        "textgen_tokenizers.string_lookup:StringLookup",
        "Sorted characters from 1 after [UNK], as keras.layers.StringLookup numbers them.",
    )
    register(
        "char-eos",
        "textgen_tokenizers.char_eos:CharEos",
        "Padding, characters from 1 (sorted or by frequency), <eos> last.",
    )
    register(
        "char-index",
        "textgen_tokenizers.char_index:CharIndex",
        "Sorted characters from 0, no special token.",
    )
