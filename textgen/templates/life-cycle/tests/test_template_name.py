"""The plugin in the suite of its kind, and its own tests."""

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from textgen.testing.suites import LifeCycleSuite


class TestTemplateName(LifeCycleSuite):
    """With a folder of its own."""

    name = "template-name"
    options: ClassVar[dict[str, Any]] = {"folder": "lines"}

    @pytest.fixture(autouse=True)
    def elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Work in an empty folder, where the lines are written."""
        monkeypatch.chdir(tmp_path)

    def test_it_writes_a_line_for_each_event(self, tmp_path: Path) -> None:
        """A run of two epochs has four lines."""
        self.train(tmp_path / "run")
        lines = [json.loads(line) for line in (tmp_path / "lines" / "run.jsonl").read_text().splitlines()]
        assert [line["event"] for line in lines] == ["started", "epoch", "epoch", "ended"]
        assert lines[0]["settings"]["plugins"] == {"template-name": {"folder": "lines"}}
        assert lines[-1]["status"] == "finished"
