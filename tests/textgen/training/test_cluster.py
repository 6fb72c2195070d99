"""TF_CONFIG."""

import json

import pytest

from textgen.errors import OptionError
from textgen.runs.artifact import Artifact
from textgen.training.cluster import Cluster


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
        (describe({"chief": ["a:1", "b:2"]}, "chief", 0), "cluster.chief names more than one"),
        (describe({"worker": ["a:1", "b:2"]}, "worker", 2), "task is 'worker' 2, which is none of the cluster"),
        (describe({"worker": ["a:1", "b:2"]}, "chief", 0), "task is 'chief' 0, which is none of the cluster"),
        (describe({"worker": ["a:1", "b:2"]}, "worker", "0"), "task is 'worker' '0'"),
        (describe({"worker": ["a:1", "b:2"]}, ["worker"], 0), "which is none of the cluster"),
        (describe({"worker": ["a:1", "a:1"]}, "worker", 0), "cluster has an address twice"),
    ],
)
def test_a_mistake_is_told(monkeypatch, config, problem):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(OptionError) as raised:
        Cluster.from_environment()
    assert problem in str(raised.value)
    assert "TF_CONFIG" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(raised.value).endswith("correct it, or unset it to train alone")


def test_only_the_chief_writes_and_shows(work, diary, monkeypatch):
    for index in (1, 0):  # the chief last: its folder is none of the others' business
        monkeypatch.setenv("TF_CONFIG", describe({"worker": ["a:1", "b:2"]}, "worker", index))
        artifact = work.train("run", display=diary)
        assert artifact.manifest.status == "finished"
        assert artifact.path.exists() == (index == 0)
        assert bool(diary.begun) == bool(diary.batches) == bool(diary.epochs) == bool(diary.ends) == (index == 0)
    whole = Artifact.open(artifact.path)
    whole.verify()
    # A follower of a run that goes on reads its folder and leaves it as it is.
    monkeypatch.setenv("TF_CONFIG", describe({"worker": ["a:1", "b:2"]}, "worker", 1))
    before = {path: path.read_bytes() for path in whole.path.rglob("*") if path.is_file()}
    assert work.resume("run", epochs=5).manifest.status == "finished"
    assert before == {path: path.read_bytes() for path in whole.path.rglob("*") if path.is_file()}
