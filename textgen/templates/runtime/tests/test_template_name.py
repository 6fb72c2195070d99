"""The runtime in the suite of its kind, and its own tests."""

from typing import ClassVar

import numpy as np

from textgen import Runtime
from textgen.testing.suites import RuntimeSuite


class TestTemplateName(RuntimeSuite):
    """With a model that counts."""

    name = "template-name"

    def test_many_rows(self, subject: Runtime, truth: Runtime) -> None:
        """More rows than are read at a time, and not a multiple of that number."""
        ids = np.random.default_rng(0).integers(0, subject.vocab_size, (41, 3)).astype(np.int32)
        logits, state = subject.forward(ids, subject.initial_state(41))
        expected, after = truth.forward(ids, truth.initial_state(41))
        np.testing.assert_allclose(logits, expected, atol=1e-5)
        np.testing.assert_array_equal(state["before"], after["before"])


class TestTemplateNameRecurrent(RuntimeSuite):
    """With a recurrent model."""

    name = "template-name"
    model: ClassVar = {"name": "fixed-gru"}
