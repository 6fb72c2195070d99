"""The tokenizer in the suite of its kind, and its own tests."""

from pathlib import Path
from typing import ClassVar

import textgen
from textgen.testing import recurrent, registered, tiny
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


def test_texts_begin_with_whole_words(tmp_path: Path) -> None:
    """A model of lines that begin with frequent words begins with one of them, as one id."""
    with registered(recurrent, name="recurrent"), registered(tiny, name="tiny"):
        generator = textgen.train("tiny-stream", "fixed-gru", tokenizer="template-name", out=tmp_path / "run")
        first_lines = {line.split()[0].rstrip(",") for line in tiny.TEXT.splitlines()}
        for generation in generator.sample(generator.request(num=5, length=20, seed=1)):
            assert generator.tokenizer.decode(generation.ids[:1]) in first_lines
