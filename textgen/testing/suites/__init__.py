"""Conformance suites: what textgen asks of a plugin, as test cases that pytest collects.

Subclass the suite of your plugin's kind in a test module, and give the name that the plugin registered::

    from textgen.testing.suites import TokenizerSuite

    class TestWords(TokenizerSuite):
        name = "words"
        options = {"size": 20}

Each case is a ``test_`` method; override what a suite documents as an attribute, and add cases of your own. While a
suite runs, the tiny corpora and the models ``counting`` and ``fixed-gru`` of :mod:`textgen.testing` are registered.

This package is the only one in textgen that imports pytest.
"""

import pytest

# So that a failing assertion shows its values, as it does in a test module.
pytest.register_assert_rewrite(
    *(f"{__name__}.{module}" for module in ("plugin", "forward", "corpus", "tokenizer", "model", "sampler")),
    *(f"{__name__}.{module}" for module in ("exporter", "runtime")),
)

from textgen.testing.suites.corpus import CorpusSuite  # noqa: E402
from textgen.testing.suites.exporter import ExporterSuite  # noqa: E402
from textgen.testing.suites.model import ModelSuite  # noqa: E402
from textgen.testing.suites.runtime import RuntimeSuite  # noqa: E402
from textgen.testing.suites.sampler import SamplerSuite, SelectorSuite  # noqa: E402
from textgen.testing.suites.tokenizer import TokenizerSuite  # noqa: E402

__all__ = [
    "CorpusSuite",
    "ExporterSuite",
    "ModelSuite",
    "RuntimeSuite",
    "SamplerSuite",
    "SelectorSuite",
    "TokenizerSuite",
]
