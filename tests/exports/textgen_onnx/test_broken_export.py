"""An export that is damaged, half written or killed: the run stays usable, and the next export replaces it."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from textgen import api
from textgen.files import folders
from textgen.runs.artifact import Artifact


@pytest.fixture
def run(exported, tmp_path) -> Path:
    """A copy of an exported run."""
    folder: Path = tmp_path / "run"
    shutil.copytree(exported("gru").run.path, folder)
    return folder


def truncate(folder: Path) -> None:
    os.truncate(folder / "step.onnx", 50)


def alter(folder: Path) -> None:
    content = bytearray((folder / "generate.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "generate.onnx").write_bytes(content)


def lose_a_graph(folder: Path) -> None:
    (folder / "generate.onnx").unlink()


def lose_the_manifest(folder: Path) -> None:
    (folder / "textgen.json").unlink()


def damage_the_manifest(folder: Path) -> None:
    os.truncate(folder / "textgen.json", 50)


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    "damage", [truncate, alter, lose_a_graph, lose_the_manifest, damage_the_manifest, empty], ids=lambda d: d.__name__
)
def test_a_broken_export_does_not_block_its_run_and_is_replaced_by_the_next_one(run, textgen, damage):
    arguments = ("sample", run, "--seed", 3, "--length", 20)
    expected = textgen(*arguments, "--runtime", "numpy")
    damage(run / "onnx")
    found = textgen(*arguments)
    assert (found.code, found.out) == (0, expected.out)
    (line,) = found.err.splitlines()
    assert "onnx" in line
    assert f"export again with: textgen export --onnx {run}; using the weights of the run instead" in line
    refused = textgen(*arguments, "--runtime", "onnx")
    assert (refused.code, refused.out) == (2, "")
    assert f"textgen export --onnx {run}" in refused.err
    assert textgen("export", "--onnx", run).code == 0
    Artifact.open(run / "onnx").verify()
    assert textgen(*arguments, "--runtime", "onnx").out == expected.out


@pytest.mark.parametrize("name", ["notes.txt", ".git", "step.onnx.bak"])
def test_a_file_that_is_not_of_an_export_is_not_lost_with_it(run, textgen, name):
    (run / "onnx" / name).mkdir()
    (run / "onnx" / name / "mine").write_text("the only copy")
    for damage in (lambda folder: None, lose_the_manifest):
        damage(run / "onnx")
        done = textgen("export", "--onnx", run)
        assert (done.code, done.out) == (2, "")
        assert f"onnx has {name}, which is not of an export and would be lost; move it" in done.err
        assert (run / "onnx" / name / "mine").read_text() == "the only copy"


def test_the_working_directory_stays_what_it_is(run, textgen, monkeypatch):
    (run.parent / "here").mkdir()
    for folder in (run.parent / "here", run / "onnx"):
        monkeypatch.chdir(folder)
        assert "choose a folder in it, as in --out onnx" in textgen("export", "--onnx", run, "--out", ".").err
        assert os.path.samefile(".", folder)
    assert textgen("export", "--onnx", run, "--out", "new").code == 0


@pytest.mark.parametrize("place", ["parent is a file", "parent is missing"])
def test_where_an_export_goes_is_checked_first(run, textgen, tmp_path, monkeypatch, place):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("textgen.exporting.source.export_source", lambda *_: pytest.fail("work was done"))
    if place == "parent is a file":
        done = textgen("export", "--onnx", run, "--out", tmp_path / "file" / "x")
        assert "is a file, not a folder; choose another --out" in done.err
    else:
        monkeypatch.undo()
        assert textgen("export", "--onnx", run, "--out", tmp_path / "a" / "b").code == 0
        Artifact.open(tmp_path / "a" / "b").verify()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_export_killed_while_it_takes_the_place_of_another_leaves_that(run, textgen, monkeypatch, at):
    """By two renames, as on platforms that cannot exchange folders."""
    before = (run / "onnx" / "step.onnx").read_bytes()
    monkeypatch.setattr(folders, "_exchange", lambda one, other: False)
    rename, count = Path.rename, 0

    def kill(self, target):
        nonlocal count
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1
        return rename(self, target)

    child = os.fork()
    if not child:
        try:
            monkeypatch.setattr(Path, "rename", kill)
            api.export(run)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == (0 if at == 2 else -signal.SIGKILL)
    assert textgen("sample", run / "onnx", "--seed", 3, "--length", 20).code == 0
    assert textgen("sample", run, "--seed", 3, "--length", 20, "--runtime", "onnx").code == 0
    assert (run / "onnx" / "step.onnx").read_bytes() == before
    assert not [name for name in os.listdir(run) if name.startswith(".")]
