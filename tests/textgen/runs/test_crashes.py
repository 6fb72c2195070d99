"""Runs that are killed, or cannot write, at any moment. The child process that trains them really dies."""

import errno
import json
import os
import resource
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.processes import in_child, kill_before
from textgen.errors import ArtifactError
from textgen.runs.artifact import Artifact
from textgen.testing import CountingModel

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # NumPy's threads do not survive a fork
]

#: Two epochs of a few batches, each with a checkpoint; the first one is the best.
OPTIONS = {"epochs": 2, "batch_size": 27}
SETTINGS = {"model": {"smoothing": 0.01}, "generation": {"length": 3}}


#: The operations before any of which a run may be killed.
OPERATIONS = ((os, "open"), (os, "replace"), (Path, "unlink"))


def history(path: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (path / "history.jsonl").read_text().splitlines()]


def samples(path: Path) -> list[str]:
    return (path / "samples.txt").read_text().split("--- epoch ")[1:]


def opens(path: Path) -> bool:
    """Returns whether a run loads; if it does not, its error must say what to do."""
    try:
        artifact = Artifact.open(path)
        artifact.verify()
        artifact.weights()
    except ArtifactError as error:
        message = str(error)
        assert "\n" not in message
        assert (
            "does not exist" in message
            or "is not a run" in message
            or f"resume it with: textgen train --resume {path}" in message
        )
        return False
    assert set(artifact.tokenizer_json()) == {"characters"}
    return True


def test_a_run_killed_before_any_file_operation_loads_and_resumes(work, monkeypatch):
    whole = work.train("whole", SETTINGS, **OPTIONS)
    with monkeypatch.context() as patch:
        operations = kill_before(patch, OPERATIONS, -1)
        work.train("counted", SETTINGS, **OPTIONS)
        count = operations()
    assert count > 30
    loaded = []
    for at in range(count):
        name = f"killed-{at}"
        with monkeypatch.context() as patch:
            kill_before(patch, OPERATIONS, at)
            code = in_child(partial(work.train, name, SETTINGS, **OPTIONS))
        assert code == -signal.SIGKILL
        path = work.folder / name
        loaded.append(opens(path))
        if not (path / "textgen.json").exists():
            continue
        if (path / "history.jsonl").exists():  # nobody finds an epoch whose sample is missing
            assert len(samples(path)) >= len(history(path))
        finished = Artifact.open(path).manifest.status == "finished"
        resumed = Artifact.open(path) if finished else work.resume(name)
        resumed.verify()
        np.testing.assert_array_equal(resumed.weights()["counts"], whole.weights()["counts"])
        assert history(path) == history(whole.path)
        assert samples(path) == samples(whole.path)
        if not finished:
            assert not list(path.rglob(".*"))
            assert contents(path / "checkpoints").keys() == {path / whole.manifest.last_checkpoint}
    assert loaded == sorted(loaded)  # once there are weights, there always are
    assert sum(loaded) > count // 2


def test_a_resumed_run_can_be_killed_too(work, monkeypatch):
    whole = work.train("whole", SETTINGS, epochs=4, batch_size=27)
    at, done = 4, False
    work.train("run", SETTINGS, epochs=1, batch_size=27)
    while not done:
        with monkeypatch.context() as patch:
            kill_before(patch, OPERATIONS, at)
            done = in_child(lambda: work.resume("run", epochs=4)) == 0
        assert opens(work.folder / "run")
        at += 7  # a little later each time
    artifact = Artifact.open(work.folder / "run")
    assert artifact.manifest.status == "finished"
    np.testing.assert_array_equal(artifact.weights()["counts"], whole.weights()["counts"])
    assert history(artifact.path) == history(whole.path)
    artifact.verify()


@pytest.fixture
def interrupted(work) -> Artifact:
    """A run that stopped after the first of two epochs."""
    artifact: Artifact = work.train("run", SETTINGS, **(OPTIONS | {"epochs": 1}))
    return artifact


def contents(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.mark.parametrize("at", [1, 2, 3, 4, 6, 8, 9, 11])
def test_a_full_disk_leaves_the_last_checkpoint_and_no_partial_file(work, interrupted, monkeypatch, at):
    counted = 0

    def full(handle: int) -> None:
        nonlocal counted
        counted += 1
        if counted >= at:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=rf"No space left on device: '{interrupted.path}/.+"):
        work.resume("run", epochs=2)
    monkeypatch.undo()
    assert opens(interrupted.path)
    assert not list(interrupted.path.rglob(".*"))
    assert len(history(work.resume("run", epochs=2).path)) == 2


def test_a_file_size_limit_leaves_the_last_checkpoint(work, interrupted):
    before = contents(interrupted.path)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max(len(content) for content in before.values())
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limit[1]))
    try:
        with pytest.raises(OSError, match=r"File too large: '.*/run/"):
            work.resume("run", epochs=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert opens(interrupted.path)
    assert contents(interrupted.path).keys() == before.keys()


def test_a_folder_that_cannot_be_created_leaves_nothing(work, monkeypatch):
    opened = os.open

    def denied(path: str, flags: int, *arguments: int) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "Permission denied", "somewhere")
        return opened(path, flags, *arguments)

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(PermissionError, match=r"Permission denied: '.*/run/textgen\.json'"):
        work.train("run")
    assert not contents(work.folder / "run")
    with pytest.raises(ArtifactError, match=r"words\.txt is a file"):
        work.train("words.txt/run")


def test_a_model_that_fails_leaves_its_last_checkpoint(work, monkeypatch):
    loss = CountingModel._loss

    def fail(self, batch, state):
        if self._counts.sum() > 400:
            raise MemoryError
        return loss(self, batch, state)

    monkeypatch.setattr(CountingModel, "_loss", fail)
    with pytest.raises(MemoryError):
        work.train("run")
    monkeypatch.undo()
    assert opens(work.folder / "run")
    work.resume("run")
