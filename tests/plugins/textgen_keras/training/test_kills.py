"""Runs that are killed at random moments, and resumed, end with the very weights of a run that was left alone."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

pytestmark = [
    pytest.mark.keras,
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork"),
]

#: Kills of runs of a layout.
KILLS = 11

#: Imports TensorFlow once, for all: each line that it reads is a command line, run in a child that it forks.
SERVER = """
import json, os, sys
from textgen_keras.libraries import require_tensorflow
require_tensorflow()
import textgen.cli, textgen_keras.training.loop
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if not child:
        sys.stdin = open(os.devnull)
        log = os.open(os.environ["CHILD_LOG"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        sys.argv = ["textgen", *json.loads(line)]
        textgen.cli.main()
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Server:
    def __init__(self, log: Path) -> None:
        self.log = log
        environment = os.environ | {"CHILD_LOG": str(log), "TEXTGEN_PLUGINS": "", "CUDA_VISIBLE_DEVICES": "-1"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=pipe, stdout=pipe, text=True, env=environment
        )
        assert self.process.stdout.readline() == "ready\n"

    def run(self, arguments: list[str], seconds: float | None = None) -> int:
        """Run a command, killed after so many seconds; its exit code, or minus the signal's number."""
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        child = int(self.process.stdout.readline())
        if seconds is not None:
            time.sleep(seconds)
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.kill(child, signal.SIGKILL)
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("server") / "log")
    yield made
    made.process.stdin.close()
    made.process.wait()


def results(folder: Path):
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    losses = [(record["step"], record["loss"], record["held_out_loss"]) for record in history]
    return safetensors.numpy.load_file(folder / "weights.safetensors"), losses


@pytest.mark.parametrize("layout", ["lanes", "documents"])
def test_runs_that_are_killed_lose_nothing(server, tmp_path, layout):
    text = tmp_path / "text.txt"
    draw = random.Random(1)
    text.write_text("\n".join("".join(draw.choices("abcde ", k=draw.randint(3, 12))) for _ in range(900)))
    kind = ["corpus.layout=stream", "training.length=20"] if layout == "lanes" else ["corpus.layout=lines"]
    options = [*kind, "training.batch_size=16", "model.units=16", "model.dropout=0.3", "training.sample_every=0"]
    options += ["model.embedding_dim=8", "model.weight_dropout=0.2", "training.warmup_steps=5"]
    command = ["train", str(text), "--model", "lstm" if layout == "lanes" else "gru", "--epochs", "8"]
    command += [argument for option in options for argument in ("--set", option)]

    alone = tmp_path / "alone"
    began = time.monotonic()
    assert server.run([*command, "--out", str(alone)]) == 0, server.log.read_text()
    whole = time.monotonic() - began
    expected, expected_losses = results(alone)

    kills = finished = 0
    while kills < KILLS:
        folder = tmp_path / f"killed-{finished}"
        done = False
        while not done:
            exists = (folder / "textgen.json").exists()
            arguments = ["train", "--resume", str(folder)] if exists else [*command, "--out", str(folder)]
            if not exists and folder.exists():  # killed before the run was one
                arguments.append("--overwrite")
            # The last of the kills are over: what is left may run to its end.
            code = server.run(arguments, None if kills >= KILLS else draw.uniform(0.2, 1.1) * whole)
            killed_at_the_very_end = code == 2 and "is finished" in server.log.read_text()
            assert code in (0, -signal.SIGKILL) or killed_at_the_very_end, server.log.read_text()
            kills += code == -signal.SIGKILL
            done = code != -signal.SIGKILL
        weights, losses = results(folder)
        assert losses == expected_losses
        assert weights.keys() == expected.keys()
        for name, array in weights.items():
            np.testing.assert_array_equal(array.view(np.uint32), expected[name].view(np.uint32))
        finished += 1
