"""Ctrl-C and its kin in a process of its own, by the command line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from textgen.artifact import Artifact

PLUGIN = """
import time
from textgen import hookimpl
from textgen.testing.counting import textgen_register_models, textgen_register_runtimes

@hookimpl
def textgen_batch_ended(position):
    time.sleep({delay})
"""


@pytest.fixture
def site(tmp_path) -> Path:
    """A folder with a plugin that brings the counting model, and makes it slow."""
    folder = tmp_path / "site"
    info = folder / "slow_counting-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-counting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[textgen]\nslow = slow_counting\n")
    (folder / "slow_counting.py").write_text(PLUGIN.format(delay=0.02))
    return folder


def start(site: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "textgen", "train", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(site)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path) -> None:
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} does not come")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_cleanly_and_the_command_it_names_goes_on(site, work, number):
    (site / "slow_counting.py").write_text(PLUGIN.format(delay=0.02))
    common = ["--model", "counting", "--batch-size", "8", "--epochs", "3"]
    run = work.folder / "run"
    process = start(site, work.stream, *common, "--out", run)
    wait_for(run / "textgen.json")
    time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert out == ""
    assert "Traceback" not in err
    assert f"stopped; everything is saved. Go on with: textgen train --resume {run}" in err
    stopped = Artifact.open(run)
    stopped.verify()
    assert stopped.manifest.status == "interrupted"
    assert stopped.weights()["counts"].sum() >= 0

    (site / "slow_counting.py").write_text(PLUGIN.format(delay=0))
    done, err = start(site, "--resume", run).communicate(timeout=60)
    assert done == ""
    assert "going on after batch" in err
    assert Artifact.open(run).manifest.status == "finished"
    whole = start(site, work.stream, *common, "--out", work.folder / "whole")
    assert whole.wait(timeout=60) == 0
    for artifact in (run, work.folder / "whole"):
        Artifact.open(artifact).verify()
    np.testing.assert_array_equal(
        Artifact.open(run).weights()["counts"], Artifact.open(work.folder / "whole").weights()["counts"]
    )
