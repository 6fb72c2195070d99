"""The exporter ``triton`` in the conformance suite."""

from textgen.testing.suites import ExporterSuite


class TestExporter(ExporterSuite):
    name = "triton"
    model = {"name": "fixed-gru"}


class TestNGram(ExporterSuite):
    name = "triton"
    model = {"name": "ngram"}
