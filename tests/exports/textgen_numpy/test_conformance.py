"""The runtime ``numpy`` in the suite that third parties have."""

from textgen.testing.suites import RuntimeSuite


class TestNumpy(RuntimeSuite):
    name = "numpy"
    model = {"name": "fixed-gru"}
