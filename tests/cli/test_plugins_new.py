"""``textgen plugins new``: packages that can be installed, tested and used as written."""

import json
import os
import subprocess
import tomllib
from pathlib import Path
from typing import get_args

import pytest

import textgen as package
from textgen.cli.new_plugin import Kind, write_package


def files(folder: Path = Path()) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.slow
class TestPackages:
    """The packages of all kinds, written and installed."""

    def test_each_is_listed(self, workshop):
        done = workshop.textgen("plugins", "list", "--json")
        assert done.stderr == ""
        listed = json.loads(done.stdout)
        assert listed["problems"] == []
        found = {plugin["distribution"]: plugin for plugin in listed["plugins"]}
        for kind, name in workshop.names.items():
            plugin = found[f"textgen-{name}"]
            assert (plugin["plugin"], plugin["version"]) == (name, "0.1.0")
            provided = {(item["kind"], item["name"]) for item in plugin["provides"]}
            assert (kind, name) in provided or (kind == "life-cycle" and not provided)

    def test_the_tests_of_each_pass(self, workshop):
        passed = workshop.test(*workshop.names.values(), keras=False)
        assert all(len(cases) > 5 for cases in passed.values()), passed

    def test_types_are_strict(self, workshop):
        folders = [workshop.package(name) / part for name in workshop.names.values() for part in ("src", "tests")]
        cache = str(workshop.folder / "cache")
        done = workshop.run("-m", "mypy", "--strict", "--cache-dir", cache, *map(str, folders))
        assert done.returncode == 0, done.stdout
        assert "no issues found in 21 source files" in done.stdout

    def test_each_is_used(self, workshop):
        def command(*arguments: str) -> str:
            done: subprocess.CompletedProcess[str] = workshop.textgen(*arguments, keras=False)
            assert done.returncode == 0, done.stderr
            return done.stdout

        parts = ["--corpus", "birds", "--tokenizer", "frequent-words", "--model", "bigram"]
        followed = ["--set", "plugins.run-lines.folder=followed"]
        command("train", *parts, "--epochs", "2", "--set", "corpus.shortest=4", *followed, "--out", "run")
        lines = (workshop.folder / "followed" / "run.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["event"] for line in lines] == ["started", "epoch", "epoch", "ended"]
        manifest = json.loads((workshop.folder / "run" / "textgen.json").read_text(encoding="utf-8"))
        assert manifest["providers"]["tokenizer"] == "textgen-frequent-words"
        assert manifest["versions"]["textgen-bigram"] == "0.1.0"
        assert manifest["metrics"]["held_out_loss"] < 3.2  # nats: the logarithm of its 25 characters

        request = ["sample", "run", "--sampler", "cutoff(0.02) | multinomial", "--num", "20", "--seed", "1"]
        in_slices, directly = (command(*request, "--runtime", runtime) for runtime in ("in-slices", "bigram"))
        assert in_slices == directly
        assert len(set(in_slices.split())) > 5

        report = json.loads(command("export", "run", "--to", "json-file", "--set", "indent=1", "--json"))
        assert report["parity"] == {"max_logit_difference": 0}
        exported = json.loads((workshop.folder / "run" / "json-file" / "model.json").read_text(encoding="utf-8"))
        assert exported["model"] == {"name": "bigram", "smoothing": 0.1}
        size = len(exported["vocabulary"]["texts"]) + 1  # and the end of a name
        assert exported["weights"]["counts"]["shape"] == [size, size]


def test_it_is_written_to_the_folder_of_out(textgen):
    Path("empty").mkdir()
    done = textgen("plugins", "new", "night-birds", "--kind", "corpus", "--out", "empty")
    assert (done.code, done.out) == (0, "")
    assert "src/textgen_night_birds/corpus.py" in files(Path("empty"))
    written = "".join(Path("empty", path).read_text() for path in files(Path("empty")) if Path("empty", path).is_file())
    assert "class NightBirdsCorpus(Corpus)" in written
    assert "template" not in written.lower()


@pytest.mark.parametrize("kind", get_args(Kind))
def test_it_may_have_any_good_name(kind, tmp_path):
    for name in ("none", "class", kind, "x2-y", "options"):
        write_package(name, kind, tmp_path / name)
        for path in (tmp_path / name).rglob("*.py"):
            compile(path.read_text(), path, "exec")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Birds", "not a valid plugin name"),
        ("two--hyphens", "not a valid plugin name"),
        ("a_b", "not a valid plugin name"),
        ("../elsewhere", "not a valid plugin name"),
        ("naïve", "not a valid plugin name"),
        ("textgen-birds", "write just 'birds'"),
        ("dinos", "textgen-rnn already has a corpus 'dinos'"),
        ("keras", "there is already a package textgen_keras"),
        ("rnn", "there is already a package textgen_rnn"),
    ],
)
def test_a_name_that_cannot_be_used_is_an_error(textgen, name, reason):
    assert reason in textgen("plugins", "new", name, "--kind", "corpus").error
    assert files() == set()


def test_a_folder_in_use_is_left_alone(textgen):
    Path("textgen-birds").mkdir()
    Path("textgen-birds/thesis.txt").write_text("the only copy")
    Path("file").write_text("")
    before = files()
    for options in ([], ["--out", "file"]):
        error = textgen("plugins", "new", "birds", "--kind", "corpus", *options).error
        assert "already exists and is not an empty folder; choose another --out" in error
    assert files() == before


def test_an_unknown_kind_is_an_error(textgen):
    assert "'corpus', 'tokenizer', 'model', 'sampler'" in textgen("plugins", "new", "birds", "--kind", "bird").error


@pytest.mark.parametrize("there_before", [False, True])
def test_a_failure_leaves_nothing(textgen, monkeypatch, there_before):
    if there_before:
        Path("textgen-birds").mkdir()
    before = files()
    replace, left = os.replace, iter(range(3))

    def replace_thrice(source: Path, target: Path) -> None:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_thrice)
    assert "No space left on device" in textgen("plugins", "new", "birds", "--kind", "corpus").error
    assert files() == before


@pytest.mark.parametrize("assignment", ["indent", "=2"])
def test_an_option_of_an_exporter_is_written_with_its_value(textgen, assignment):
    error = textgen("export", "--to", "onnx", "--set", assignment).error
    assert error.endswith("is not of the form option=value, such as precision=int8")


def test_types_and_templates_are_shipped():
    root = Path(package.__file__).parent
    assert (root / "py.typed").is_file()
    assert (root / "templates" / "common" / "src" / "textgen_template_name" / "py.typed").is_file()
    project = tomllib.loads((root.parent / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel.keys() == {"packages"}, "packages are shipped in full"
    assert "textgen" in wheel["packages"]
