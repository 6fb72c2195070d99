"""The exporter in the suite of its kind, and its own tests."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from textgen_template_name.exporter import FILE, read_weights

from textgen import ExportSource
from textgen.testing.suites import ExporterSuite


class TestTemplateName(ExporterSuite):
    """With a model that counts."""

    name = "template-name"

    def test_the_file_has_the_weights(self, source: ExportSource, folder: Path) -> None:
        """The weights are bit for bit the same."""
        self.export(source, folder)
        found = read_weights(folder / FILE)
        for name, array in source.artifact.weights().items():
            np.testing.assert_array_equal(found[name], array)


class TestTemplateNameRecurrent(ExporterSuite):
    """With a recurrent model and an indented file."""

    name = "template-name"
    model: ClassVar = {"name": "fixed-gru"}
    options: ClassVar = {"indent": 1}
