"""The example packages, installed in a fresh environment and driven through the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import textgen
from textgen.plugins.registry import Registry
from textgen.testing import counting, registered
from textgen.training.plan import make_plan

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

#: Puts a module in the way of TensorFlow and Keras: importing them fails.
BLOCK = "raise ImportError('this environment has no such library')\n"

MINGRU = ("--model", "mingru", "--set", "model.units=16", "--set", "training.device=cpu")
QUICK = ("--corpus", "dinos-lite", "--set", "training.sample_every=0")


class Installed:
    """The environment with both packages, and the folder of its runs."""

    def __init__(self, environment, folder: Path) -> None:
        self.environment, self.folder = environment, folder
        self.packages = [shutil.copytree(EXAMPLES / f"textgen-{name}", folder / name) for name in ("mingru", "ngram")]
        environment.install(*self.packages)  # copies: setuptools writes into the tree that it installs
        self.blocked = folder / "blocked"
        self.blocked.mkdir()
        for library in ("tensorflow", "keras", "numba"):
            (self.blocked / f"{library}.py").write_text(BLOCK)

    def textgen(self, *arguments: object, fails: bool = False, keras: bool = True) -> str:
        """What a command writes: to stdout, or where it fails, to stderr."""
        variables = {} if keras else {"PYTHONPATH": str(self.blocked)}
        done = self.environment.textgen(*map(str, arguments), cwd=self.folder, **variables)
        assert done.returncode == (2 if fails else 0), done.stderr
        assert "textgen: plugin" not in done.stderr, done.stderr
        return done.stderr if fails else done.stdout

    def test(self, package: str, *, keras: bool = True) -> None:
        """Run a package's own tests."""
        variables = {} if keras else {"PYTHONPATH": str(self.blocked)}
        arguments = ("-q", "-p", "no:cacheprovider")
        done = self.environment.run("-m", "pytest", *arguments, cwd=self.folder / package, **variables)
        assert done.returncode == 0, done.stdout
        assert " passed" in done.stdout


@pytest.fixture(scope="module")
def installed(make_environment, tmp_path_factory) -> Installed:
    return Installed(make_environment(), tmp_path_factory.mktemp("examples"))


def test_both_are_listed(installed):
    listed = json.loads(installed.textgen("plugins", "list", "--json", keras=False))["plugins"]
    provided = {row["distribution"]: row["provides"] for row in listed}
    assert {(item["kind"], item["name"]) for item in provided["textgen-mingru"]} == {("model", "mingru")}
    assert {(item["kind"], item["name"]) for item in provided["textgen-ngram"]} == {
        ("model", "ngram"),
        ("runtime", "ngram"),
    }


class TestNGram:
    """All of it where neither TensorFlow nor Keras can be imported."""

    def test_its_own_tests_pass(self, installed):
        installed.test("ngram", keras=False)

    def test_a_run_of_it(self, installed):
        def textgen(*arguments: object, **options: bool) -> str:
            return installed.textgen(*arguments, keras=False, **options)

        textgen("train", *QUICK, "--model", "ngram", "--out", "whole")
        textgen("train", *QUICK, "--model", "ngram", "--out", "parts", "--max-steps", 5)
        textgen("train", "--resume", "parts", "--max-steps", 1000)
        whole, parts = (json.loads((installed.folder / run / "textgen.json").read_text()) for run in ("whole", "parts"))
        assert whole["files"]["weights.safetensors"] == parts["files"]["weights.safetensors"]
        assert whole["metrics"]["held_out_loss"] == parts["metrics"]["held_out_loss"] < 1.7
        assert (whole["providers"]["model"], whole["versions"]["textgen-ngram"]) == ("textgen-ngram", "0.1.0")
        assert whole["settings"]["training"]["epochs"] == 1

        names = textgen("sample", "whole", "--num", 5, "--seed", 1)
        assert names == textgen("sample", "parts", "--num", 5, "--seed", 1, "--runtime", "ngram")
        assert len(set(names.split())) == 5

    def test_it_is_not_exported_to_onnx(self, installed):
        refusal = installed.textgen("export", "whole", "--onnx", keras=False, fails=True)
        assert refusal.count("\n") == 1
        assert "no GRU or LSTM stack; if it is a Keras model, export it with --via tf2onnx" in refusal
        refusal = installed.textgen("export", "whole", "--onnx", "--via", "tf2onnx", keras=False, fails=True)
        assert refusal.count("\n") == 1
        assert "no Keras step function" in refusal
        assert not (installed.folder / "whole" / "onnx").exists()

    def test_it_is_evaluated_by_the_core(self, installed):
        judged = json.loads(installed.textgen("evaluate", "whole", "--num", 20, "--json", keras=False))
        recorded = json.loads((installed.folder / "whole" / "textgen.json").read_text())["metrics"]["held_out_loss"]
        assert judged["held_out"]["nats"] == pytest.approx(recorded, abs=1e-5)


@pytest.mark.keras
@pytest.mark.slow
class TestMinGRU:
    def test_its_own_tests_pass(self, installed):
        installed.test("mingru")

    def test_a_run_of_it(self, installed):
        run = installed.folder / "mingru-run"
        installed.textgen("train", *QUICK, *MINGRU, "--out", run, "--max-steps", 3)
        installed.textgen("train", "--resume", run, "--max-steps", 20)
        assert [json.loads(line)["step"] for line in (run / "history.jsonl").read_text().splitlines()] == [3, 16, 20]
        installed.textgen("export", run, "--onnx", "--via", "tf2onnx")
        wanted = ("sample", run, "--num", 5, "--seed", 1)
        exported = installed.textgen(*wanted, "--runtime", "onnx", keras=False)
        assert exported == installed.textgen(*wanted, "--runtime", "keras")
        assert len(exported.splitlines()) == 5


def lengths_of_batches(found: Registry, folder: Path) -> list[int]:
    """Train the counting model, and note how long the rows of its batches are."""
    seen: list[int] = []

    class Watch:
        @textgen.hookimpl
        def textgen_transform_batch(self, batch, position):
            seen.append(batch.inputs.shape[1])
            np.testing.assert_array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])
            assert batch.weights.shape == batch.targets.shape == batch.inputs.shape

    settings = {
        "corpus": {"name": "dinos-lite"},
        "training": {"epochs": 20, "sample_every": 0, "batch_size": 100},
        "model": {"name": "counting"},
    }
    with registered(Watch(), name="zz-watch"):
        assert make_plan(settings, found).dataset.train.steps < 50
        textgen.train(settings=settings, out=folder)
    return seen


def test_the_curriculum_goes_from_short_to_long(tmp_path):
    from textgen.plugins.discovery import import_file

    with registered(counting, name="counting") as found:
        whole = lengths_of_batches(found, tmp_path / "whole")
        curriculum = import_file(EXAMPLES / "curriculum.py")
        with registered(curriculum, name="curriculum"):
            cut = lengths_of_batches(found, tmp_path / "cut")
    bound = [curriculum.SHORTEST * 2 ** (batch // curriculum.DOUBLED_AFTER) for batch in range(len(whole))]
    assert cut == [min(pair) for pair in zip(whole, bound, strict=True)]
    assert set(cut[:50]) == {5}
    assert cut[-40:] == whole[-40:]
