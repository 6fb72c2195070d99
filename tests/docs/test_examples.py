"""The example package, installed in an environment of its own and used through the command line."""

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
from textgen.base.streams import print_result
from textgen.cli import main
for arguments in json.loads(sys.argv.pop()):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
    print_result(end=chr(0))
"""


@pytest.fixture
def command(workshop):
    """Runs a command in the environment of the package: its output, or its error if it is to fail."""

    def run(*arguments: object, fails: bool = False, keras: bool = False) -> str:
        done: subprocess.CompletedProcess[str] = workshop.textgen(*arguments, keras=keras)
        assert done.returncode == (2 if fails else 0), done.stderr
        assert "textgen: plugin" not in done.stderr, done.stderr
        return done.stderr if fails else done.stdout

    return run


@pytest.mark.slow
def test_it_is_listed(command):
    listed = json.loads(command("plugins", "list", "--json"))["plugins"]
    provided = {row["distribution"]: row["provides"] for row in listed}
    assert {(item["kind"], item["name"]) for item in provided["textgen-mingru"]} == {("model", "mingru")}


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
