"""The sampler in the suite of its kind, and its own tests."""

from typing import ClassVar

import numpy as np

from textgen.testing.suites import SamplerSuite


class TestTemplateName(SamplerSuite):
    """With different options for the rows of a batch."""

    name = "template-name"
    options: ClassVar = {"epsilon": 0.1}
    more_options: ClassVar = ({"epsilon": 0}, {"epsilon": 0.9})

    def test_unlikely_ids_are_removed(self) -> None:
        """Of 60, 35 and 5 %, those above 10 % remain."""
        logits = np.log(np.array([[0.6, 0.35, 0.05]], np.float32))
        result = self.make().transform(logits, {"epsilon": np.array([[0.1]], np.float32)}, None)
        np.testing.assert_array_equal(np.isfinite(result), [[True, True, False]])
