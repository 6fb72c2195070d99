"""A short form of the trial of reading while training."""

import os

import pytest

from tests.trials.read_while_training import trial

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # a fork of a process with threads
]


@pytest.mark.slow
def test_reading_a_run_that_trains_never_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "run").mkdir()
    done, failures, checkpoints = trial(tmp_path / "run", loads=90, verifies=30, exports=6)
    assert failures == []
    assert done == {"load": 90, "verify": 30, "export": 6}
    assert checkpoints > 0
