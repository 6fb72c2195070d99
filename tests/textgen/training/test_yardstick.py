"""An n-gram beside every run: recorded, reported, and the same as a run of its own."""

import json
import subprocess
import sys
from typing import Any

import pytest

import textgen
from textgen.runs.artifact import Artifact
from textgen.testing import counting, registered

NAMES = [
    f"{a}{b}{c}" for a in ("al", "ber", "ca", "du", "ed", "fir") for b in ("a", "e", "io") for c in ("n", "rt", "s")
]
SETTINGS: dict[str, Any] = {"training": {"sample_every": 0, "epochs": 2}}


@pytest.fixture(autouse=True)
def counting_model():
    with registered(counting, name="counting"):
        yield


@pytest.fixture
def text() -> dict[str, Any]:
    return {"text": NAMES * 3}


def test_a_run_records_the_loss_of_an_n_gram_run(tmp_path, text):
    run = textgen.train(model="counting", out=tmp_path / "run", settings=SETTINGS, **text)
    ngram = textgen.train(model="ngram", out=tmp_path / "ngram", settings={"training": {"sample_every": 0}}, **text)
    recorded = run.artifact.manifest.metrics["ngram_held_out_loss"]
    assert recorded == pytest.approx(ngram.artifact.manifest.metrics["held_out_loss"])
    assert "ngram_held_out_loss" not in ngram.artifact.manifest.metrics


@pytest.mark.parametrize("stream", [False, True])
def test_an_evaluation_judges_the_n_gram_by_the_same_text(tmp_path, text, stream):
    text = {"text": " ".join(NAMES * 3)} if stream else text
    run = textgen.train(model="counting", out=tmp_path / "run", settings=SETTINGS, **text)
    ngram = textgen.train(model="ngram", out=tmp_path / "ngram", settings={"training": {"sample_every": 0}}, **text)
    options: dict[str, Any] = {} if stream else {"num": 5}
    expected = ngram.evaluate(**options).held_out
    found = run.evaluate(**options)
    assert found.ngram is not None
    assert found.ngram.nats == pytest.approx(expected.nats)
    assert found.ngram.characters == found.held_out.characters
    assert ngram.evaluate(**options).ngram is None


def test_windows_stand_beside_the_carried_state(tmp_path):
    run = textgen.train(model="counting", text=" ".join(NAMES), out=tmp_path / "run", settings=SETTINGS)
    windows, carried = run.evaluate(context=4), run.evaluate()
    assert windows.carried == carried.held_out
    assert windows.held_out.nats != carried.held_out.nats
    assert carried.carried is None


def test_it_is_said_in_one_line(command_line, tmp_path):
    (tmp_path / "names.txt").write_text("\n".join(NAMES * 3))
    quick = ["--model", "counting", "--epochs", 1, "--set", "training.sample_every=0", "--set", "model.smoothing=5"]
    code, _, stderr = command_line("train", tmp_path / "names.txt", *quick, "--out", tmp_path / "run")
    (line,) = [line for line in stderr.splitlines() if "n-gram" in line]
    metrics = json.loads((tmp_path / "run" / "textgen.json").read_text())["metrics"]
    assert code == 0
    assert f"{metrics['ngram_held_out_loss']:.3f} nats per character, better than this model" in line
    assert "--model ngram" in line
    code, stdout, stderr = command_line("evaluate", tmp_path / "run")
    assert code == 0, stderr
    assert "loss of an n-gram" in stdout


@pytest.mark.parametrize("options", [["--no-plugin", "ngram"], ["--set", "training.held_out=0"]])
def test_there_is_none_without_the_plugin_or_held_out_text(tmp_path, options):
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    quick = ["--plugin", counting.__file__, "--model", "counting", "--epochs", "1", "--set", "training.sample_every=0"]
    command = [sys.executable, "-m", "textgen", "train", "names.txt", *quick, "--out", "run", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "n-gram" in done.stderr) == (0, False), done.stderr
    assert "ngram_held_out_loss" not in json.loads((tmp_path / "run" / "textgen.json").read_text())["metrics"]


def test_a_long_text_is_not_counted(tmp_path, text, monkeypatch):
    counted: list[int] = []
    monkeypatch.setattr("textgen.training.yardstick.MOST_TARGETS", 100)
    monkeypatch.setattr("textgen.training.yardstick._Counting.batch_ended", lambda *arguments: counted.append(1))
    run = textgen.train(model="counting", out=tmp_path / "run", settings=SETTINGS, **text)
    assert "ngram_held_out_loss" not in run.artifact.manifest.metrics
    assert counted == []


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("of the n-gram")])
def test_a_run_is_finished_if_no_n_gram_can_be_counted(tmp_path, text, monkeypatch, capsys, error):
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("textgen.training.run.count_yardstick", fail)
    run = textgen.train(model="counting", out=tmp_path / "run", settings=SETTINGS, **text)
    assert run.artifact.manifest.status == "finished"
    assert "ngram_held_out_loss" not in run.artifact.manifest.metrics
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "n-gram" in line]
    assert line.startswith(f"textgen: no n-gram was counted, beside which to judge this run: {type(error).__name__}")


def test_a_run_is_on_disk_before_an_n_gram_is_counted(tmp_path, text, monkeypatch):
    def kill(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("textgen.training.run.count_yardstick", kill)
    with pytest.raises(KeyboardInterrupt):
        textgen.train(model="counting", out=tmp_path / "run", settings=SETTINGS, **text)
    run = Artifact.open(tmp_path / "run")
    run.verify()
    assert (run.manifest.status, run.manifest.weights) == ("finished", "weights.safetensors")
