"""The bundled tokenizers: of characters, of words, and of bytes."""

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
    register(
        "words",
        "textgen_tokenizers.words:Words",
        "Frequent words with the blank before them, marks, white space; other words are spelled, or [UNK].",
    )
    register(
        "byte-bpe",
        "textgen_tokenizers.byte_bpe:ByteBPE",
        "Pieces of words in bytes, merged by Hugging Face's tokenizers: any text, nothing unknown.",
    )
