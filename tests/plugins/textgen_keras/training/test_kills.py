"""Runs that are killed at random moments and resumed end with exactly the weights of an undisturbed run."""

import contextlib
import json
import os
import random
import signal
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

#: Kills per layout. Every fourth comes before training begins or soon after, the others at any point of it.
KILLS = 11

#: Kills its process some time after a batch: within a later batch, or while an epoch's files are written.
CALLBACK = """
import os, signal, threading
import keras

class Killer(keras.callbacks.Callback):
    batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        if str(self.batches) == os.environ.get("KILL_AFTER"):
            timer = threading.Timer(float(os.environ["KILL_DELAY"]), os.kill, [os.getpid(), signal.SIGKILL])
            timer.daemon = True
            timer.start()
"""


def results(folder: Path):
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    losses = [(record["step"], record["loss"], record["held_out_loss"]) for record in history]
    return safetensors.numpy.load_file(folder / "weights.safetensors"), losses


@pytest.mark.parametrize("layout", ["lanes", "documents"])
def test_runs_that_are_killed_lose_nothing(server, tmp_path, layout):
    (tmp_path / "killer.py").write_text(CALLBACK)
    draw = random.Random(1)
    text = "\n".join("".join(draw.choices("abcde ", k=draw.randint(3, 12))) for _ in range(900))
    (tmp_path / "text.txt").write_text(text)
    kind = ["corpus.layout=stream", "training.length=20"] if layout == "lanes" else ["corpus.layout=lines"]
    options = [*kind, "training.batch_size=16", "model.units=16", "model.dropout=0.3", "training.sample_every=0"]
    options += ["model.embedding_dim=8", "model.weight_dropout=0.2", "model.input_weight_dropout=0.1"]
    options += ["training.warmup_steps=5", "training.noise=0.05", *["training.state_reset=0.1"] * (layout == "lanes")]
    again = ["--set", "training.callbacks=['killer:Killer']"]
    command = ["train", "text.txt", "--model", "lstm" if layout == "lanes" else "gru", "--epochs", "8"]
    command += [argument for option in options for argument in ("--set", option)]
    command += again

    alone = server.start(tmp_path, *command, "--out", "alone")
    assert alone.wait() == 0, alone.errors()
    expected, expected_losses = results(tmp_path / "alone")
    steps = expected_losses[-1][0]

    kills = finished = 0
    while kills < KILLS:
        folder = tmp_path / f"killed-{finished}"
        done = False
        while not done:
            exists = (folder / "textgen.json").exists()
            arguments = ["train", "--resume", folder.name, *again] if exists else [*command, "--out", folder.name]
            if not exists and folder.exists():  # killed before it became a run
                arguments.append("--overwrite")
            is_early = kills % 4 == 0
            # After the last kill, the run may end.
            late = {"KILL_AFTER": str(draw.randint(1, steps // 3)), "KILL_DELAY": str(draw.uniform(0, 0.03))}
            process = server.start(tmp_path, *arguments, **({} if is_early or kills >= KILLS else late))
            if is_early and kills < KILLS:
                time.sleep(draw.uniform(0, 0.9))
                with contextlib.suppress(ProcessLookupError):  # it has ended already
                    os.kill(process.pid, signal.SIGKILL)
            code = process.wait()
            killed_at_the_very_end = code == 2 and "is finished" in process.errors()
            assert code in (0, -signal.SIGKILL) or killed_at_the_very_end, process.errors()
            kills += code == -signal.SIGKILL
            done = code != -signal.SIGKILL
        weights, losses = results(folder)
        assert losses == expected_losses
        assert weights.keys() == expected.keys()
        for name, array in weights.items():
            np.testing.assert_array_equal(array.view(np.uint32), expected[name].view(np.uint32))
        finished += 1
