"""Training by several processes on this machine, which TF_CONFIG makes the workers of one run."""

import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest

from textgen.runs.artifact import Artifact

pytestmark = [
    pytest.mark.keras,
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork"),
]

#: Saves the weights of its process at the end. Sends its process a signal after a batch, if asked to.
CALLBACK = """
import os
import keras
import numpy as np

class Witness(keras.callbacks.Callback):
    done = 0

    def on_train_batch_end(self, batch, logs=None):
        self.done += 1
        if str(self.done) == os.environ.get("SIGNAL_AFTER"):
            os.kill(os.getpid(), int(os.environ["SIGNAL"]))

    def on_train_end(self, logs=None):
        np.savez("weights.npz", **self.model.tensors())
"""

TEXT = "it was the best of times, it was the worst of times\n" * 12

#: 5 rows for 2 workers; 11 batches per epoch.
OPTIONS = ["batch_size=5", "length=10", "epochs=3", "noise=0.1", "state_reset=0.2", "callbacks=['witness:Witness']"]
TRAIN = [
    *("text.txt", "--model", "gru", "--set", "model.units=16", "--set", "model.dropout=0", "--device", "cpu"),
    *("--set", "model.weight_dropout=0"),  # drawn by each worker
    *(part for option in OPTIONS for part in ("--set", f"training.{option}")),
]


@pytest.fixture
def launch(server, tmp_path):
    """Start ``textgen train`` in a folder of its own; keywords are environment variables."""

    def start(name: str, *arguments: str, **variables: str):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "text.txt").write_text(TEXT)
        (folder / "witness.py").write_text(CALLBACK)
        return server.start(folder, "train", *arguments, **variables)

    return start


def configs() -> list[str]:
    """The values of TF_CONFIG for two workers."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("localhost", 0))
        two.bind(("localhost", 0))
        workers = [f"localhost:{each.getsockname()[1]}" for each in (one, two)]
    return [
        json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}) for index in (0, 1)
    ]


def finish(process, code: int) -> str:
    """Wait for a process that ends with an exit code; its standard error. The chief prints the folder of its run."""
    found = process.wait()
    errors: str = process.errors()
    assert found == code, errors
    assert process.output() in ("", "run\n", "alone\n", "stopped\n"), errors
    assert "Traceback" not in errors
    return errors


def weights(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "weights.npz") as file:
        return dict(file)


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "run" / "history.jsonl").read_text().splitlines()]
    return [line[name] for line in lines for name in ("loss", "held_out_loss")]


def assert_close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert np.linalg.norm(found[name] - array) <= 1e-5 * np.linalg.norm(array), name


def test_two_workers_train_the_weights_of_one_and_can_be_resumed_as_one(launch, tmp_path):
    new = [*TRAIN, "--out", "run"]
    both = [launch(f"worker{index}", *new, TF_CONFIG=config) for index, config in enumerate(configs())]
    alone = launch("alone", *new)
    printed = [finish(process, 0) for process in (*both, alone)]
    ours, theirs = weights(tmp_path / "worker0"), weights(tmp_path / "worker1")
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])
    assert_close(ours, weights(tmp_path / "alone"))
    np.testing.assert_allclose(losses(tmp_path / "worker0"), losses(tmp_path / "alone"), rtol=1e-5)
    Artifact.open(tmp_path / "worker0" / "run").verify()
    # The other worker has printed one line, and written nothing.
    assert printed[1].count("\n") == 1
    assert "worker 1 of 2 only trains; localhost:" in printed[1]
    assert not (tmp_path / "worker1" / "run").exists()

    # If a worker other than the chief is asked to stop, both stop, at the same batch.
    again = [
        launch(f"stopped{index}", *new, TF_CONFIG=config, **stop)
        for index, (config, stop) in enumerate(
            zip(configs(), ({}, {"SIGNAL_AFTER": "16", "SIGNAL": "15"}), strict=True)
        )
    ]
    for process in again:
        finish(process, 130)
    stopped = Artifact.open(tmp_path / "stopped0" / "run")
    assert stopped.manifest.status == "interrupted"
    assert stopped.manifest.last_checkpoint is not None
    assert stopped.manifest.last_checkpoint.endswith("00000016.safetensors")
    # One process resumes what two began, including the carried state.
    finish(launch("stopped0", "--resume", "run", "--set", "training.callbacks=witness:Witness"), 0)
    assert_close(weights(tmp_path / "stopped0"), weights(tmp_path / "alone"))


def test_a_worker_whose_chief_is_killed_ends_with_one_line(launch):
    chief, other = (
        launch(f"worker{index}", *TRAIN, "--out", "run", TF_CONFIG=config, SIGNAL=signal, SIGNAL_AFTER="3")
        for index, (config, signal) in enumerate(zip(configs(), ("9", "0"), strict=True))
    )
    finish(chief, -9)
    line = finish(other, 2).splitlines()[-1]
    assert "lost the others: one of them has failed" in line
    assert line.endswith("start all of them again with --resume RUN")


def test_workers_of_different_runs_do_not_train(launch, tmp_path):
    processes = [
        launch(f"worker{index}", *TRAIN, "--seed", str(index), "--out", "run", TF_CONFIG=config)
        for index, config in enumerate(configs())
    ]
    for index, process in enumerate(processes):
        assert "the workers do not train the same run" in finish(process, 2).splitlines()[-1]
        assert not (tmp_path / f"worker{index}" / "run").exists()
