"""The bundled tokenizers in the suite that third parties have."""

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
