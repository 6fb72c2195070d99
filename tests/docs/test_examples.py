"""The example packages, installed in an environment of their own and used through the command line."""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textgen
from textgen.options import Settings
from textgen.plugins.registry import Registry
from textgen.testing import counting, registered
from textgen.training.plan import make_plan

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

MINGRU = ("--model", "mingru", "--set", "model.units=8", "--set", "training.device=cpu")
QUICK = ("--corpus", "dinos-lite", "--set", "training.sample_every=0")

#: Runs several commands in one process, since each would import TensorFlow; prints NUL after the output of each.
COMMANDS = """
import json, sys
from textgen.cli import main
for arguments in json.loads(sys.argv.pop()):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
    print(end=chr(0))
"""


@pytest.fixture
def command(workshop):
    """Runs a command in the environment of the packages: its output, or its error if it is to fail."""

    def run(*arguments: object, fails: bool = False, keras: bool = False) -> str:
        done: subprocess.CompletedProcess[str] = workshop.textgen(*arguments, keras=keras)
        assert done.returncode == (2 if fails else 0), done.stderr
        assert "textgen: plugin" not in done.stderr, done.stderr
        return done.stderr if fails else done.stdout

    return run


@pytest.mark.slow
def test_both_are_listed(command):
    listed = json.loads(command("plugins", "list", "--json"))["plugins"]
    provided = {row["distribution"]: row["provides"] for row in listed}
    assert {(item["kind"], item["name"]) for item in provided["textgen-mingru"]} == {("model", "mingru")}
    assert {(item["kind"], item["name"]) for item in provided["textgen-ngram"]} == {
        ("model", "ngram"),
        ("runtime", "ngram"),
    }


@pytest.mark.slow
class TestNGram:
    """Everything works although neither TensorFlow nor Keras can be imported."""

    def test_its_own_tests_pass(self, workshop):
        assert len(workshop.test("ngram", keras=False)["ngram"]) > 5

    def test_a_run_of_it(self, workshop, command):
        command("train", *QUICK, "--model", "ngram", "--out", "whole")
        command("train", *QUICK, "--model", "ngram", "--out", "parts", "--max-steps", 5)
        command("train", "--resume", "parts", "--max-steps", 1000)
        whole, parts = (json.loads((workshop.folder / run / "textgen.json").read_text()) for run in ("whole", "parts"))
        assert whole["files"]["weights.safetensors"] == parts["files"]["weights.safetensors"]
        assert whole["metrics"]["held_out_loss"] == parts["metrics"]["held_out_loss"] < 1.7
        assert (whole["providers"]["model"], whole["versions"]["textgen-ngram"]) == ("textgen-ngram", "0.1.0")
        assert whole["settings"]["training"]["epochs"] == 1

        names = command("sample", "whole", "--num", 5, "--seed", 1)
        assert names == command("sample", "parts", "--num", 5, "--seed", 1, "--runtime", "ngram")
        assert len(set(names.split())) == 5

    def test_it_is_not_exported_to_onnx(self, workshop, command):
        refusal = command("export", "whole", "--onnx", fails=True)
        assert refusal.count("\n") == 1
        assert "is not a GRU or LSTM stack; if it is a Keras model, export it with --via tf2onnx" in refusal
        refusal = command("export", "whole", "--onnx", "--via", "tf2onnx", fails=True)
        assert refusal.count("\n") == 1
        assert "no Keras step function" in refusal
        assert not (workshop.folder / "whole" / "onnx").exists()

    def test_it_is_evaluated_by_the_core(self, workshop, command):
        evaluation = json.loads(command("evaluate", "whole", "--num", 20, "--json"))
        recorded = json.loads((workshop.folder / "whole" / "textgen.json").read_text())["metrics"]["held_out_loss"]
        assert evaluation["held_out"]["nats"] == pytest.approx(recorded, abs=1e-5)


@pytest.mark.keras
@pytest.mark.slow
class TestMinGRU:
    def test_its_own_tests_pass(self, workshop):
        assert len(workshop.test("mingru")["mingru"]) > 5

    def test_a_run_of_it(self, workshop, command):
        run = workshop.folder / "mingru-run"
        command("train", *QUICK, *MINGRU, "--out", run, "--max-steps", 3, keras=True)
        wanted = ["sample", str(run), "--num", "5", "--seed", "1"]
        commands = [
            ["train", "--resume", str(run), "--max-steps", "20"],
            ["export", str(run), "--onnx", "--via", "tf2onnx"],
            [*wanted, "--runtime", "keras"],
        ]
        done = workshop.run("-c", COMMANDS, json.dumps(commands))
        assert done.returncode == 0, done.stderr
        *_, native, _ = done.stdout.split("\0")
        assert [json.loads(line)["step"] for line in (run / "history.jsonl").read_text().splitlines()] == [3, 16, 20]
        assert command(*wanted, "--runtime", "onnx") == native
        assert len(native.splitlines()) == 5


def lengths_of_batches(registry: Registry, folder: Path) -> list[int]:
    """Train the counting model; the lengths of the rows of its batches."""
    lengths: list[int] = []

    class Watch:
        @textgen.hookimpl
        def textgen_transform_batch(self, batch, position):
            lengths.append(batch.inputs.shape[1])
            np.testing.assert_array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])
            assert batch.weights.shape == batch.targets.shape == batch.inputs.shape

    settings: Settings = {
        "corpus": {"name": "dinos-lite"},
        "training": {"epochs": 20, "sample_every": 0, "batch_size": 100},
        "model": {"name": "counting"},
    }
    with registered(Watch(), name="zz-watch"):
        assert make_plan(settings, registry).dataset.train.steps < 50
        textgen.train(settings=settings, out=folder)
    return lengths


def test_the_curriculum_goes_from_short_to_long(tmp_path):
    from textgen.plugins.discovery import import_file

    with registered(counting, name="counting") as registry:
        whole = lengths_of_batches(registry, tmp_path / "whole")
        curriculum: Any = import_file(EXAMPLES / "curriculum.py")
        with registered(curriculum, name="curriculum"):
            cut = lengths_of_batches(registry, tmp_path / "cut")
    bound = [curriculum.SHORTEST * 2 ** (batch // curriculum.DOUBLED_AFTER) for batch in range(len(whole))]
    assert cut == [min(pair) for pair in zip(whole, bound, strict=True)]
    assert set(cut[:50]) == {5}
    assert cut[-40:] == whole[-40:]
