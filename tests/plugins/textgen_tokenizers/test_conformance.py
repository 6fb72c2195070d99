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
