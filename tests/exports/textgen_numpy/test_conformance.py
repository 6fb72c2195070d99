"""The runtime ``numpy`` in the conformance suite."""

from textgen.testing.suites import RuntimeSuite


class TestNumpy(RuntimeSuite):
    name = "numpy"
    model = {"name": "fixed-gru"}
