"""A short form of the trial in a container."""

import sys
from pathlib import Path

import pytest

from tests.trials.container import trial

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="containers are Linux's")]


def test_a_container_samples_exports_and_evaluates(tmp_path):
    recorded = Path(__file__).parents[1] / "recorded" / "gru-names"
    done = trial(recorded, tmp_path)
    assert [each for each in done if not each.is_clean] == []
    texts = [each.out for each in done if each.command.startswith("sample") and "--num 3" in each.command]
    assert len(set(texts)) == 1
    assert "with 1 core" in next(each.out for each in done if each.command == "doctor")
