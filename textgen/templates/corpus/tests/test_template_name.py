"""The corpus in the suite of its kind, and its own tests."""

from typing import ClassVar

from textgen.testing.suites import CorpusSuite


class TestTemplateName(CorpusSuite):
    """With the default options."""

    name = "template-name"


class TestTemplateNameLong(CorpusSuite):
    """With long names only."""

    name = "template-name"
    options: ClassVar = {"shortest": 9}

    def test_names_are_long(self) -> None:
        """No name is shorter than requested."""
        assert min(map(len, self.corpus().documents())) == 9
