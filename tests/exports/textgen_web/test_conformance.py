"""The exporter ``web`` in the conformance suite."""

from textgen.testing.suites import ExporterSuite


class TestExporter(ExporterSuite):
    name = "web"
    model = {"name": "fixed-gru"}


class TestInt8(ExporterSuite):
    name = "web"
    model = {"name": "fixed-gru", "units": 32}
    options = {"precision": "int8"}


class TestNGram(ExporterSuite):
    name = "web"
    model = {"name": "ngram"}
