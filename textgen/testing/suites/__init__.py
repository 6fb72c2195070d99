"""Conformance suites: the requirements of textgen for plugins, as test cases for pytest.

Subclass the suite of the kind of your plugin in a test module, and set the name that the plugin registers::

    from textgen.testing.suites import TokenizerSuite

    class TestWords(TokenizerSuite):
        name = "words"
        options = {"size": 20}

Each case is a ``test_`` method. Set the attributes that a suite documents, and add your own cases. While a suite runs,
the tiny corpora and the models ``counting`` and ``fixed-gru`` of :mod:`textgen.testing` are registered.

No other package of textgen imports pytest.
"""

import pytest

# A failing assertion then shows its values, as in a test module.
pytest.register_assert_rewrite(
    *(f"{__name__}.{module}" for module in ("plugin", "forward", "corpus", "tokenizer", "model", "sampler")),
    *(f"{__name__}.{module}" for module in ("exporter", "life_cycle", "runtime")),
)

from textgen.testing.suites.corpus import CorpusSuite  # noqa: E402
from textgen.testing.suites.exporter import ExporterSuite  # noqa: E402
from textgen.testing.suites.life_cycle import LifeCycleSuite  # noqa: E402
from textgen.testing.suites.model import ModelSuite  # noqa: E402
from textgen.testing.suites.runtime import RuntimeSuite  # noqa: E402
from textgen.testing.suites.sampler import SamplerSuite, SelectorSuite  # noqa: E402
from textgen.testing.suites.tokenizer import TokenizerSuite  # noqa: E402

__all__ = [
    "CorpusSuite",
    "ExporterSuite",
    "LifeCycleSuite",
    "ModelSuite",
    "RuntimeSuite",
    "SamplerSuite",
    "SelectorSuite",
    "TokenizerSuite",
]
