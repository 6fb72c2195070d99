"""The requirements for an exporter."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from textgen import Exporter, ExportReport, ExportSource, Ids, Runtime, State
from textgen.errors import ArtifactError, TextgenError
from textgen.exporting.source import export_source
from textgen.plugins.registry import plugins
from textgen.saved_run import SavedRun
from textgen.testing.suites.plugin import OptionsSuite
from textgen.testing.suites.runs import TinyRun, train_tiny

Logits = NDArray[np.float32]


class Spoilt(Runtime):
    """A runtime whose logits are changed by a function.

    Args:
        original: the runtime.
        change: the function.
    """

    def __init__(self, original: Runtime, change: Callable[[Logits], Logits]) -> None:
        self.original, self.change = original, change
        self.vocab_size, self.state_spec = original.vocab_size, original.state_spec

    @classmethod
    def open(cls, *_: Any) -> Spoilt:
        """Not supported."""
        raise NotImplementedError

    def forward(self, ids: Ids, state: State, lengths: Ids | None = None) -> tuple[Logits, State]:
        logits, after = self.original.forward(ids, state, lengths)
        return self.change(logits), after


def other(logits: Logits) -> Logits:
    """The logits of a different model."""
    return logits[..., ::-1] * 3


def fails(logits: Logits) -> Logits:
    """Raises instead of returning logits."""
    raise RuntimeError("the comparison failed")


class ExporterSuite(OptionsSuite):
    """Cases for an :class:`textgen.Exporter`.

    Example:
        >>> class TestOnnx(ExporterSuite):
        ...     name = "onnx"
        ...     model = {"name": "fixed-gru"}

    Attributes:
        model: the name and options of the exported model: ``counting``, ``fixed-gru``, or your own.
    """

    kind = "exporter"
    interface = Exporter

    model: ClassVar[Mapping[str, Any]] = {"name": "counting"}

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, kit: None, tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
        """A run of :attr:`model`."""
        return train_tiny(tmp_path_factory.mktemp("exporter") / "run", cls.model)

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """The folder of the export; neither it nor anything beside it exists yet."""
        return tmp_path / "exports" / "one"

    @pytest.fixture
    def source(self, run: TinyRun) -> ExportSource:
        """The run, as the exporter receives it."""
        return export_source(SavedRun(run.artifact, plugins()), lambda line: None)

    def export(self, source: ExportSource, folder: Path) -> ExportReport:
        """Exports the run."""
        report: ExportReport = self.make().export(source, folder)
        return report

    def test_it_writes_what_it_reports(self, source: ExportSource, folder: Path) -> None:
        report = self.export(source, folder)
        assert report.folder == folder
        assert report.files
        assert files(folder).keys() == set(report.files)
        assert [path.name for path in folder.parent.iterdir()] == [folder.name], "only the export is left"

    def test_it_reports_how_far_it_is_from_its_source(self, source: ExportSource, folder: Path) -> None:
        parity = self.export(source, folder).parity
        assert parity, "an export is compared with its source"
        assert all(isinstance(name, str) and math.isfinite(figure) for name, figure in parity.items())

    def test_another_model_than_its_source_is_an_error_that_leaves_nothing(
        self, source: ExportSource, folder: Path
    ) -> None:
        with pytest.raises(ArtifactError):
            self.export(spoilt(source, other), folder)
        assert not folder.exists()
        assert not folder.parent.exists() or not list(folder.parent.iterdir())

    def test_a_failure_leaves_nothing(self, source: ExportSource, folder: Path) -> None:
        with pytest.raises((RuntimeError, TextgenError)):
            self.export(spoilt(source, fails), folder)
        assert not folder.exists()
        assert not folder.parent.exists() or not list(folder.parent.iterdir())

    def test_a_failure_leaves_the_former_export(self, source: ExportSource, folder: Path) -> None:
        self.export(source, folder)
        before = files(folder)
        with pytest.raises((RuntimeError, TextgenError)):
            self.export(spoilt(source, fails), folder)
        assert files(folder) == before
        assert [path.name for path in folder.parent.iterdir()] == [folder.name]

    def test_what_it_did_not_write_is_kept(self, source: ExportSource, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "thesis.txt").write_text("the only copy")
        try:
            self.export(source, folder)
        except TextgenError as error:
            assert "\n" not in str(error)  # noqa: PT017 - an error is allowed, not required
        assert (folder / "thesis.txt").read_text() == "the only copy"


def files(folder: Path) -> dict[str, bytes]:
    """The content of every file of a folder, by path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def spoilt(source: ExportSource, change: Callable[[Logits], Logits]) -> ExportSource:
    """The source, but of a different model, whether logits or losses are compared with it."""

    def measure_loss(runtime: Runtime) -> float:
        if isinstance(runtime, Spoilt):
            return source.measure_loss(runtime.original)
        return source.measure_loss(Spoilt(runtime, change))

    def open_runtime(name: str) -> Runtime:
        return Spoilt(source.open_runtime(name), change)

    return replace(source, open_runtime=open_runtime, measure_loss=measure_loss)
