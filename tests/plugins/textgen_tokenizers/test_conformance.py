"""The bundled tokenizers in the public suite."""

from textgen.testing.suites import TokenizerSuite


class TestCharIndex(TokenizerSuite):
    name = "char-index"


class TestStringLookup(TokenizerSuite):
    name = "string-lookup"


class TestCharEos(TokenizerSuite):
    name = "char-eos"


class TestCharEosByFrequency(TokenizerSuite):
    name = "char-eos"
    options = {"order": "frequency"}


class TestCharEosThatDropsRareCharacters(TokenizerSuite):
    name = "char-eos"
    options = {"min_count": 1, "rare": "drop"}


class TestWords(TokenizerSuite):
    name = "words"


class TestWordsByUnk(TokenizerSuite):
    name = "words"
    options = {"rare": "unk", "min_count": 1}


class TestByteBPE(TokenizerSuite):
    name = "byte-bpe"
    options = {"vocab_size": 300}


class TestBytes(TokenizerSuite):
    name = "byte-bpe"
    options = {"vocab_size": 257}
