"""Training on from trained weights, and resuming with other options, with Keras."""

from pathlib import Path

import numpy as np
import pytest

from textgen.runs.artifact import Artifact
from textgen.runs.checkpoint import read_checkpoint
from textgen.text.batches import Dataset, Windows
from textgen_keras.models import GRU, LSTM
from textgen_keras.network.options import RecurrentOptions
from textgen_numpy.runtime import NumpyRuntime

pytestmark = pytest.mark.keras

V = 5

#: Ids 0, 2 and 4 are those that were 0, 1 and 3; id 2 of before is gone.
OLD_IDS = np.array([0, -1, 1, -1, 3], np.int32)


def make(model, vocab_size=V, **options):
    return model(RecurrentOptions(**{"units": 8} | options), vocab_size)


@pytest.mark.parametrize("model", [GRU, LSTM])
@pytest.mark.parametrize(
    "options",
    [{"embedding_dim": 4, "layers": 2}, {"input": "one-hot"}, {"embedding_dim": 8, "tie_weights": True}],
    ids=["embedding", "one-hot", "tied"],
)
def test_a_network_that_grew_computes_the_same_for_the_ids_it_kept(model, options):
    before, after = make(model, 4, **options), make(model, V, **options)
    after.load_weights(after.grow_weights(before.weights(), OLD_IDS))
    ids = np.array([[2, 0, 4, 4, 2]], np.int32)  # of the new vocabulary
    old = NumpyRuntime(before.describe(before.weights())).forward(
        OLD_IDS[ids], before.state_spec.initial_state(batch=1)
    )
    new = after.forward(ids, after.state_spec.initial_state(batch=1))
    kept = OLD_IDS >= 0
    np.testing.assert_allclose(new[0][..., kept], old[0][..., OLD_IDS[kept]], atol=1e-5)
    if options.get("tie_weights"):
        np.testing.assert_array_equal(after.weights()["head.kernel"], after.weights()["embedding"].T)


def test_new_ids_are_less_likely_than_known_ones_on_average():
    before, after = make(GRU, 4), make(GRU, V)
    weights = {name: array + 0.0 for name, array in before.weights().items()}
    weights["head.bias"] = np.array([0, -1, 2, 3], np.float32)
    grown = after.grow_weights(weights, OLD_IDS)
    np.testing.assert_array_equal(grown["head.bias"], [0, -1, -1, -1, 3])
    assert grown["embedding"].dtype == np.float32
    again = after.grow_weights(weights, OLD_IDS)
    assert all(np.array_equal(again[name], grown[name]) for name in grown), "a function of the arguments"


def test_fitting_starts_from_the_weights_that_were_loaded(make_run, stream):
    dataset = Dataset(Windows(stream, 40, 4))
    trained = make(GRU)
    trained.fit(dataset, make_run(dataset, epochs=8, learning_rate=0.05))
    again = make(GRU)
    again.load_weights(trained.weights())
    run = make_run(dataset, epochs=1)
    again.fit(dataset, run)
    fresh = make_run(dataset, epochs=1)
    make(GRU).fit(dataset, fresh)
    assert run.losses[0] < fresh.losses[0] - 0.1


def train(command_line, *arguments):
    code, _, err = command_line("train", *arguments)
    assert code == 0, err
    return err


BASE = [
    *("--set", "model.units=8", "--set", "model.embedding_dim=4", "--batch-size", 4, "--set", "training.length=20"),
    *("--set", "training.sample_every=0", "--set", "training.drop_duplicates=false", "--device", "cpu"),
]


def test_from_has_a_learning_rate_and_schedule_of_its_own(command_line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("verse.txt").write_text("the cat sat on the mat\nand that was that\n" * 20)
    Path("other.txt").write_text("a hat is on the mat\nthat hat is a cat's\n" * 20)
    changes = ["--set", "training.learning_rate=0.05", "--set", "training.schedule=constant"]
    changes += ["--set", "training.noise=0.1", "--set", "training.state_reset=0.1"]
    train(command_line, "verse.txt", *BASE, *changes, "--epochs", 2, "--out", "base")
    frozen = ["--set", 'training.freeze=["layers"]', "--set", "model.dropout=0.4"]
    frozen += ["--set", "training.drop_duplicates=false"]
    train(command_line, "other.txt", "--from", "base", *frozen, "--epochs", 2, "--out", "tuned")
    base, tuned = Artifact.open(Path("base")), Artifact.open(Path("tuned"))
    training = tuned.manifest.settings["training"]
    assert (training["learning_rate"], training["schedule"], training["warmup_steps"]) == (2e-3, "cosine", 100)
    assert (training["batch_size"], training["length"], training["freeze"]) == (4, 20, ["layers"])
    assert tuned.manifest.settings["model"]["dropout"] == 0.4
    for part in ("kernel", "recurrent_kernel", "bias"):
        np.testing.assert_array_equal(tuned.weights()[f"layers.0.{part}"], base.weights()[f"layers.0.{part}"])
    assert (training["noise"], training["state_reset"]) == (0.1, 0.1)
    documents = [
        "--set",
        "corpus.layout=lines",
        "--set",
        "training.drop_duplicates=false",
    ]  # whose states are not carried
    train(command_line, "verse.txt", *documents, "--from", "tuned", "--epochs", 1, "--out", "third")
    training = Artifact.open(Path("third")).manifest.settings["training"]
    assert (training["freeze"], training["noise"], training["state_reset"]) == ([], 0.1, 0)


@pytest.mark.parametrize("schedule", [["cosine", 100], ["constant", 0]])
def test_a_learning_rate_that_changed_on_resuming_is_used(command_line, tmp_path, monkeypatch, schedule):
    monkeypatch.chdir(tmp_path)
    Path("verse.txt").write_text("the cat sat on the mat\nand that was that\n" * 20)
    name, warmup = schedule
    fixed = ["--set", f"training.schedule={name}", "--set", f"training.warmup_steps={warmup}"]
    train(command_line, "verse.txt", *BASE, *fixed, "--epochs", 1, "--out", "run")
    before = read_checkpoint(Artifact.open(Path("run")))
    assert before is not None
    changed = ["--set", "training.learning_rate=1e-30", "--set", "training.clip_norm=none"]
    train(command_line, "--resume", "run", "--epochs", 2, *changed, "--set", "training.weight_decay=0")
    run = Artifact.open(Path("run"))
    settings = {"training": {"learning_rate": 1e-30, "clip_norm": None, "epochs": 2}}
    assert run.manifest.changes == [{"step": before.position.total, "settings": settings}]
    after = read_checkpoint(run)
    assert after is not None
    assert after.position.total == 2 * before.position.total
    for name in (name for name in before.tensors if name.startswith("weights.")):
        np.testing.assert_array_equal(after.tensors[name], before.tensors[name], err_msg=name)
