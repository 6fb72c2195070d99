"""Runs that several processes train together, as ``TF_CONFIG`` lists them."""

import json
from typing import Any

import numpy as np
import pytest

import textgen
from textgen import hookimpl
from textgen.base.cluster import Cluster
from textgen.errors import OptionError
from textgen.generation.runtime import ModelRuntime
from textgen.runs.artifact import Artifact
from textgen.testing import registered


def describe(cluster: object, job: object, index: object) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("", None),
        (describe({"worker": ["a:1"]}, "worker", 0), None),
        (describe({"worker": ["a:1", "b:2"]}, "worker", 0), Cluster(("a:1", "b:2"), 0)),
        (describe({"worker": ["a:1", "b:2"]}, "worker", 1), Cluster(("a:1", "b:2"), 1)),
        (describe({"worker": ["a:1", "b:2"], "chief": ["c:3"]}, "chief", 0), Cluster(("c:3", "a:1", "b:2"), 0)),
        (describe({"worker": ["a:1", "b:2"], "chief": ["c:3"]}, "worker", 1), Cluster(("c:3", "a:1", "b:2"), 2)),
    ],
)
def test_workers_are_in_the_order_of_tensorflow(monkeypatch, config, expected):
    monkeypatch.setenv("TF_CONFIG", config)
    assert Cluster.from_environment() == expected


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("{", "is not JSON: "),
        ("[]", "no object 'cluster'"),
        ("{}", "no object 'cluster'"),
        (json.dumps({"cluster": {"worker": ["a:1", "b:2"]}}), "no object 'task'"),
        (describe({}, "worker", 0), "no object 'cluster'"),
        (describe({"ps": ["a:1"], "worker": ["b:2"]}, "worker", 0), "cluster has 'ps'; it may have: chief, worker"),
        (describe({"worker": "a:1"}, "worker", 0), "cluster.worker is not a list of addresses host:port"),
        (describe({"worker": ["a", "b"]}, "worker", 0), "cluster.worker is not a list of addresses host:port"),
        (describe({"chief": ["a:1", "b:2"]}, "chief", 0), "cluster.chief lists more than one address"),
        (describe({"worker": ["a:1", "b:2"]}, "worker", 2), "task 'worker' 2 is not part of the cluster"),
        (describe({"worker": ["a:1", "b:2"]}, "chief", 0), "task 'chief' 0 is not part of the cluster"),
        (describe({"worker": ["a:1", "b:2"]}, "worker", "0"), "task 'worker' '0' is not part"),
        (describe({"worker": ["a:1", "b:2"]}, ["worker"], 0), "is not part of the cluster"),
        (describe({"worker": ["a:1", "a:1"]}, "worker", 0), "cluster has an address twice"),
    ],
)
def test_a_mistake_is_one_line(monkeypatch, config, problem):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(OptionError) as raised:
        Cluster.from_environment()
    assert problem in str(raised.value)
    assert "TF_CONFIG" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith("correct it, or unset it to train alone")


def join(monkeypatch, index: int) -> None:
    """Makes this process one of two workers; the counting model needs no connection to the other."""
    monkeypatch.setenv("TF_CONFIG", describe({"worker": ["a:1", "b:2"]}, "worker", index))


def test_only_the_chief_writes_shows_and_calls_hooks(work, diary, monkeypatch):
    called = []

    class Watcher:
        @hookimpl
        def textgen_batch_ended(self, position):
            called.append(position)

        @hookimpl
        def textgen_epoch_ended(self, position):
            called.append(position)

        @hookimpl
        def textgen_checkpoint_saved(self, position):
            called.append(position)

    for index in (1, 0):  # the chief last: the follower does not touch its folder
        join(monkeypatch, index)
        with registered(Watcher()):
            artifact = work.train("run", display=diary)
        assert bool(called) == (index == 0)
        assert artifact.manifest.status == "finished"
        assert artifact.path.exists() == (index == 0)
        assert bool(diary.begun) == bool(diary.batches) == bool(diary.epochs) == bool(diary.ends) == (index == 0)
    whole = Artifact.open(artifact.path)
    whole.verify()
    # A follower of a resumed run reads its folder and does not change it.
    join(monkeypatch, 1)
    before = {path: path.read_bytes() for path in whole.path.rglob("*") if path.is_file()}
    assert work.resume("run", epochs=5).manifest.status == "finished"
    assert before == {path: path.read_bytes() for path in whole.path.rglob("*") if path.is_file()}


def test_train_in_python_returns_the_same_weights_in_every_worker(work, monkeypatch):
    # With so little smoothing the first epoch is the best, so the last weights are not those to return.
    settings = work.settings({"model": {"smoothing": 0.01}}, epochs=4)
    generators = []
    for index in (1, 0):
        join(monkeypatch, index)
        generators.append(textgen.train(settings=settings, out=work.folder / "run"))
        assert (work.folder / "run").exists() == (index == 0)
    follower, chief = generators
    assert chief.artifact.manifest.metrics["epoch"] == 1
    assert isinstance(follower.runtime, ModelRuntime)
    np.testing.assert_array_equal(follower.runtime.model.weights()["counts"], chief.artifact.weights()["counts"])
    request: dict[str, Any] = {"length": 9, "num": 3, "seed": 1}
    assert follower.generate("ab", **request) == chief.generate("ab", **request)
    assert follower.artifact.manifest.settings == chief.artifact.manifest.settings
