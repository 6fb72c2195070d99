"""The exporter and the runtime ``onnx`` in the conformance suites."""

from textgen import api
from textgen.testing.suites import ExporterSuite, RuntimeSuite


class TestExporter(ExporterSuite):
    name = "onnx"
    model = {"name": "fixed-gru"}


class TestInt8(ExporterSuite):
    name = "onnx"
    model = {"name": "fixed-gru", "units": 32}
    options = {"precision": "int8"}


class TestNGram(ExporterSuite):
    name = "onnx"
    model = {"name": "ngram"}


class TestRuntime(RuntimeSuite):
    name = "onnx"
    model = {"name": "fixed-gru"}

    @classmethod
    def prepare(cls, run):
        api.export(run.artifact.path, notice=lambda _: None)


class TestRuntimeOfAnNGram(TestRuntime):
    model = {"name": "ngram"}
