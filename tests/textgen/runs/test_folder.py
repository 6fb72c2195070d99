import json
import os
import re
import shutil
from pathlib import Path

import pytest

from textgen import api
from textgen.base.environment import runs_folder
from textgen.errors import ArtifactError
from textgen.files.writing import new_temporary
from textgen.runs.artifact import Artifact
from textgen.runs.folder import claimed, find_run, list_runs, name_run, new_folder


def test_a_run_is_named_after_time_corpus_and_model():
    name = name_run({"corpus": {"name": "dinos"}, "model": {"name": "gru"}})
    assert re.fullmatch(r"20\d{6}-\d{6}-dinos-gru", name)


def test_a_name_that_is_taken_gets_a_number(tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTGEN_RUNS_DIR", str(tmp_path / "runs"))
    for expected in ("run", "run-2", "run-3"):
        with new_folder(None, "run") as folder:
            (folder / "file").touch()
        assert folder == tmp_path / "runs" / expected


def test_a_folder_that_stays_empty_is_removed_with_the_parents_created_for_it(tmp_path):
    with new_folder(tmp_path / "a" / "b", "unused") as folder:
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_the_latest_run_is_the_one_written_last(work, monkeypatch):
    monkeypatch.setenv("TEXTGEN_RUNS_DIR", str(work.folder / "runs"))
    with pytest.raises(ArtifactError, match=r"the folder .*runs has no runs; train one with: textgen train"):
        find_run(None)
    for index, name in enumerate(["first", "second", "third"]):
        path = work.train(f"runs/{name}", epochs=1).path
        os.utime(path / "textgen.json", (index, index))
    (runs_folder() / "no-run").mkdir()
    assert [path.name for path in list_runs()] == ["third", "second", "first"]
    assert find_run(None).name == "third"
    os.utime(runs_folder() / "first" / "textgen.json", (9, 9))
    assert api.load().artifact.path.name == "first"


def test_the_latest_run_is_the_latest_that_can_write_text(work, monkeypatch, capsys):
    monkeypatch.setenv("TEXTGEN_RUNS_DIR", str(work.folder / "runs"))
    good = work.train("runs/good", epochs=1).path
    for index, name in enumerate(["no-weights", "damaged", "missing", "truncated"]):
        folder = runs_folder() / name
        shutil.copytree(good, folder)
        manifest = json.loads((folder / "textgen.json").read_text())
        if name == "no-weights":
            (folder / "textgen.json").write_text(json.dumps(manifest | {"weights": None, "status": "training"}))
        elif name == "damaged":
            (folder / "textgen.json").write_text("{")
        elif name == "missing":
            (folder / "weights.safetensors").unlink()
        else:
            os.truncate(folder / "weights.safetensors", 100)
        os.utime(folder / "textgen.json", (2**31 + index, 2**31 + index))
    assert api.load().artifact.path == good
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("textgen: ") and line.endswith(f"using {good} instead") for line in lines)
    shutil.rmtree(good)
    with pytest.raises(ArtifactError, match=r"truncated.* has 100 bytes"):
        api.load()


def test_a_run_is_found_by_its_path_or_by_its_name(work, monkeypatch):
    monkeypatch.setenv("TEXTGEN_RUNS_DIR", str(work.folder / "runs"))
    path = work.train("runs/mine", epochs=1).path
    assert find_run(Path("mine")) == path
    assert find_run(path) == path
    with pytest.raises(ArtifactError, match="elsewhere does not exist"):
        api.load(Path("elsewhere"))


def test_the_folder_of_runs_is_called_runs_by_default(monkeypatch):
    monkeypatch.delenv("TEXTGEN_RUNS_DIR", raising=False)
    assert runs_folder() == Path("runs")
    monkeypatch.setenv("TEXTGEN_RUNS_DIR", "")
    assert runs_folder() == Path("runs")


def test_what_a_killed_process_left_in_a_run_goes_when_the_run_is_read_next(work):
    run = work.train("run", epochs=1).path
    recorded = Artifact.open(run)
    recorded.verify()
    left = [run / "checkpoints" / "step-99999999.safetensors", new_temporary(run), new_temporary(run / "checkpoints")]

    def leave() -> None:
        for path in left:
            path.write_bytes(b"half")

    leave()
    api.load(run)
    assert not any(path.exists() for path in left)
    recorded.verify()

    leave()
    with claimed(run):  # by a process that trains the run
        api.load(run)
    assert [path.exists() for path in left] == [True, False, False]
