"""A short form of the trial of kills."""

import os

import pytest

from tests.trials.kills import trial

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # a fork of a process with threads
]


@pytest.mark.slow
def test_commands_that_are_killed_lose_nothing_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "rounds").mkdir()
    made, faults = trial(12, 2, tmp_path / "rounds")
    assert faults == []
    assert sum(made.kills.values()) >= 6
