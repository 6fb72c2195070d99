"""The tokenizer in the suite of its kind, and its own tests."""

from typing import ClassVar

from textgen.testing.suites import TokenizerSuite


class TestTemplateName(TokenizerSuite):
    """With the default options."""

    name = "template-name"

    def test_a_frequent_word_is_one_id(self) -> None:
        """The text is shorter in ids than in characters."""
        tokenizer = self.fitted()
        assert len(tokenizer.encode("elm, yew")) == 4


class TestTemplateNameCharacters(TokenizerSuite):
    """Without any words."""

    name = "template-name"
    options: ClassVar = {"size": 0}
