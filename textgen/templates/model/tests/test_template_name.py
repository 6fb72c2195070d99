"""The model in the suite of its kind, and its own tests."""

from typing import ClassVar

import numpy as np

from textgen.testing.suites import ModelSuite


class TestTemplateName(ModelSuite):
    """With an option other than its default."""

    name = "template-name"
    options: ClassVar = {"smoothing": 0.5}

    def test_logits_are_log_probabilities(self) -> None:
        """Two of the three ids after 0 were 1."""
        model = self.model()
        counts = np.zeros((model.vocab_size, model.vocab_size), np.float32)
        counts[0, 1], counts[0, 2] = 2, 1
        model.load_weights({"counts": counts})
        logits, _ = model.forward(np.zeros((1, 1), np.int32), model.state_spec.initial_state(1))
        np.testing.assert_allclose(np.exp(logits[0, 0, 1]), (2 + 0.5) / (3 + 0.5 * model.vocab_size), rtol=1e-5)
