"""``textgen runs list|show``."""

import json
import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture
def runs(trained) -> Path:
    """A folder with two runs, ``new`` started after ``old``."""
    for age, name, kind in ((0, "new", "documents"), (60, "old", "stream")):
        shutil.copytree(trained[kind], Path("runs", name))
        manifest = Path("runs", name, "textgen.json")
        os.utime(manifest, (manifest.stat().st_atime, manifest.stat().st_mtime - age))
    return Path("runs")


def test_an_empty_folder_of_runs_says_how_to_train_one(textgen):
    listed = textgen("runs", "list")
    assert (listed.code, listed.out) == (0, "")
    assert listed.err == "textgen: the folder runs has no runs; train one with: textgen train --corpus dinos-lite\n"
    assert textgen("runs", "list", "--json").out == "[]\n"
    assert "has no runs" in textgen("runs", "show").error


def test_the_latest_run_is_listed_first(textgen, runs):
    listed = textgen("runs", "list")
    assert (listed.code, listed.err) == (0, "")
    assert [line.split()[:2] for line in listed.out.splitlines()] == [
        ["runs/new", "finished"],
        ["runs/old", "finished"],
    ]
    rows = json.loads(textgen("runs", "list", "--json").out)
    assert [(row["run"], row["corpus"], row["model"]) for row in rows] == [
        ("runs/new", "file", "counting"),
        ("runs/old", "file", "counting"),
    ]
    for row, line in zip(rows, listed.out.splitlines(), strict=True):
        manifest = json.loads(Path(row["run"], "textgen.json").read_text())
        assert row["metrics"] == manifest["metrics"]
        assert f"held out {row['metrics']['held_out_loss']:.3f} nats" in line


def test_the_environment_may_name_another_folder(textgen, runs, monkeypatch):
    runs.rename("kept")
    monkeypatch.setenv("TEXTGEN_RUNS_DIR", "kept")
    assert [line.split()[0] for line in textgen("runs", "list").out.splitlines()] == ["kept/new", "kept/old"]


def test_a_broken_run_is_reported_and_the_others_are_listed(textgen, runs):
    for name, content in (("cut", "{"), ("later", '{"format": "textgen", "format_version": 99}'), ("else", "[]")):
        (runs / name).mkdir()
        (runs / name / "textgen.json").write_text(content)
    listed = textgen("runs", "list")
    assert listed.code == 0
    assert [line.split()[0] for line in listed.out.splitlines()] == ["runs/new", "runs/old"]
    reported = sorted(listed.err.splitlines())
    assert [line.split("/")[1] for line in reported] == ["cut", "else", "later"]
    assert all(line.startswith("textgen: runs/") for line in reported)


def test_a_run_is_shown_with_its_parts(textgen, runs):
    shown = textgen("runs", "show", "old")
    assert (shown.code, shown.err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in shown.out.splitlines())
    manifest = json.loads(Path("runs/old/textgen.json").read_text())
    assert lines["run"].startswith("runs/old (finished, begun ")
    assert lines["vocabulary"] == str(manifest["vocab_size"])
    assert lines["model"] == "counting smoothing=1.0"
    assert "batch_size=4" in lines["training"]
    assert "max_steps=none" in lines["training"]
    assert "shuffle=true" in lines["training"]
    assert "prompt=''" in lines["generation"]
    assert "sampler='temperature(0.9) | multinomial'" in lines["generation"]
    assert lines["files"].startswith(f"{len(manifest['files'])},")
    assert textgen("runs", "show", "runs/old").out == shown.out


def test_the_latest_run_is_shown_by_default(textgen, runs):
    assert textgen("runs", "show").out == textgen("runs", "show", "new").out


def test_json_is_the_manifest(textgen, runs):
    shown = json.loads(textgen("runs", "show", "--json").out)
    assert shown == json.loads(Path("runs/new/textgen.json").read_text())


@pytest.mark.parametrize("name", ["tokenizer.json", "weights.safetensors", "history.jsonl"])
def test_show_checks_every_file(textgen, runs, name):
    file = runs / "new" / name
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert textgen("runs", "show").error == (
        f"runs/new/{name} was altered: its SHA-256 is not the one recorded in textgen.json"
    )
