"""Ctrl-C on the command line, in its own process."""

import os
import signal
import subprocess
import sys
import time

import numpy as np

from textgen.runs.artifact import Artifact

#: Provides the counting model, and slows it down.
PLUGIN = """
import time
from textgen import hookimpl
from textgen.testing.counting import textgen_register_models, textgen_register_runtimes

@hookimpl
def textgen_batch_ended(position):
    time.sleep(0.05)
"""


def test_ctrl_c_ends_a_run_cleanly_and_it_can_be_resumed(work):
    site, run = work.folder / "site", work.folder / "run"
    info = site / "slow_counting-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-counting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[textgen]\nslow = slow_counting\n")
    (site / "slow_counting.py").write_text(PLUGIN)
    options = {"--model": "counting", "--batch-size": 8, "--epochs": 9, "--set": "training.length=10", "--out": run}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "textgen",
            "train",
            str(work.stream),
            *(str(p) for pair in options.items() for p in pair),
        ],
        env=os.environ | {"PYTHONPATH": str(site)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (run / "textgen.json").exists():
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert out.endswith("run\n")
    assert "Traceback" not in err
    assert err.splitlines()[-1] == f"stopped; everything is saved. Resume with: textgen train --resume {run}"
    stopped = Artifact.open(run)
    stopped.verify()
    assert stopped.manifest.status == "interrupted"
    assert stopped.manifest.versions["slow-counting"] == "1.0"

    resumed = work.resume("run")
    assert resumed.manifest.status == "finished"
    whole = work.train("whole", stream=True, epochs=9)
    np.testing.assert_array_equal(resumed.weights()["counts"], whole.weights()["counts"])
