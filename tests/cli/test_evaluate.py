"""``textgen evaluate``."""

import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textgen as library
from textgen.base import console
from textgen.errors import UnavailableError
from textgen.evaluation import plot as evaluation_plot
from textgen_ngram.model import NGram

#: The first characters of a bar.
HIDE_CURSOR = "\x1b[?25l"

#: Asks the process to stop, as Ctrl-C does.
STOPS = """
import os, signal
from textgen import hookimpl

@hookimpl
def textgen_batch_ended(position):
    if position.total == 2:
        os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.fixture(autouse=True)
def plots(monkeypatch, request):
    """Plots only in the tests of plots: importing matplotlib takes a second."""

    def unavailable(*arguments: object) -> None:
        raise UnavailableError("plots need matplotlib")

    if "plot" not in request.node.name:
        monkeypatch.setattr(evaluation_plot, "save_evaluation_plot", unavailable)


@pytest.fixture
def runs(trained) -> dict[str, Path]:
    """Copies of the trained runs that a test may write to; their corpora are not copied."""
    return {name: Path(shutil.copytree(path, name)) for name, path in trained.items()}


def test_json_is_the_evaluation_of_the_library(textgen, runs):
    shown = textgen("evaluate", runs["documents"], "--json", "--num", 20, "--seed", 4, "--temperature", 0.6)
    expected = library.load(runs["documents"]).evaluate(num=20, seed=4, temperature=0.6)
    assert shown.code == 0
    assert json.loads(shown.out) == json.loads(json.dumps(asdict(expected)))
    assert shown.err == ""


def test_the_table_has_the_figures(textgen, runs):
    found = json.loads(textgen("evaluate", runs["documents"], "--json", "--num", 20).out)
    shown = textgen("evaluate", runs["documents"], "--num", 20)
    assert shown.code == 0
    before, _ = shown.out.split("by n-grams of characters")
    rows = dict(line.split("   ", 1) for line in before.splitlines() if "   " in line)
    score, written = found["held_out"], found["written"]
    assert rows["held-out text"].strip() == f"3 documents, {score['characters']} characters judged"
    assert rows["loss"].strip() == f"{score['nats']:.4f} nats ({score['nats'] / math.log(2):.4f} bits) per character"
    assert rows["accuracy"].strip() == f"{score['accuracy']:.2%}"
    assert rows["calibration error"].strip() == f"{score['calibration_error']:.4f} (15 bins)"
    assert rows["new"].split() == [f"{written[each]['novelty']:.1%}" for each in ("texts", "held_out")]
    assert rows["texts"].split() == ["20", "3"]
    assert shown.out.splitlines()[0] == f"{runs['documents']}, counting on cpu"
    assert f"written with {written['sampler']}, seed 0, at most 12 characters" in shown.out
    for example in written["texts"]["neighbours"]["examples"]:
        assert f"{example['distance']:.3f}" in shown.out


def test_a_stream_has_a_context_and_no_documents(textgen, runs):
    found = json.loads(textgen("evaluate", runs["stream"], "--json", "--context", 3).out)
    assert found["written"] is None
    assert found["context"] == "state not carried: windows of 3 tokens, each from the initial state"
    shown = textgen("evaluate", runs["stream"]).out
    assert "state carried through the whole text" in shown
    assert "nearest" not in shown


@pytest.mark.parametrize("name", ["documents", "stream"])
def test_what_is_written_stands_beside_training_and_held_out_text(textgen, runs, name):
    samples = json.loads(textgen("evaluate", runs[name], "--json", "--num", 9, "--seed", 2).out)["samples"]
    shown = textgen("evaluate", runs[name], "--num", 9, "--seed", 2).out
    columns = [samples[column] for column in ("written", "training", "held_out")]
    rows = [line.rsplit(maxsplit=3) for line in shown.splitlines()]
    assert ["characters", *(f"{column['characters']:,}" for column in columns)] in rows
    table = shown[shown.index("by n-grams of characters") :]
    words = " ".join(table.split())
    losses = [f"{column['reverse_loss']:.4f}" for column in columns[:2]]
    assert f"reverse loss, nats per character {' '.join(losses)} distinct 4-grams" in words
    for length, share in samples["held_out"]["novelty"].items():
        own = samples["written"]["novelty"].get(length)
        assert f"new {length}-grams {'' if own is None else f'{own:.1%} '}{share:.1%}" in words
    assert f"written with {samples['sampler']}, seed 2, at most {samples['length']} characters" in table


@pytest.mark.parametrize("name", ["documents", "stream"])
def test_a_curve_names_the_temperature_of_the_lowest_reverse_loss(textgen, runs, name):
    curve = json.loads(textgen("evaluate", runs[name], "--json", "--num", 10, "--curve").out)["curve"]
    shown = textgen("evaluate", runs[name], "--num", 10, "--curve").out
    rows = [line.split() for line in shown[shown.index("temperature   reverse loss") :].splitlines()]
    points = [[f"{p['temperature']}", f"{p['reverse_loss']:.4f}", f"{p['distinct']:.1%}"] for p in curve["points"]]
    assert rows[1:10] == points
    assert [float(row[0]) for row in points] == [0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2]
    assert rows[10][0] == "training"
    best = min(curve["points"], key=lambda point: point["reverse_loss"])["temperature"]
    assert shown.splitlines()[-1] == f"the reverse loss is lowest at temperature {best}"
    assert curve["best"] == best


def test_a_run_that_copies_is_said_to_copy_in_one_line(textgen, runs, monkeypatch):
    line = "these texts copy: they are nearer to training documents than held-out ones are"
    assert line not in textgen("evaluate", runs["documents"]).out
    monkeypatch.setattr("textgen.evaluation.evaluate.mann_whitney", lambda written, held_out: -3.1)
    shown = textgen("evaluate", runs["documents"]).out
    assert line in shown.splitlines()
    assert "copying test, z                 -3.1" in shown


def test_the_latest_run_is_judged_by_default(textgen, trained):
    shutil.copytree(trained["stream"], Path("runs", "mine"))
    assert textgen("evaluate").out == textgen("evaluate", "mine").out
    assert "runs/mine, counting on cpu" in textgen("evaluate").out


def test_a_plot_is_written_to_the_runs_folder_and_nothing_else_changes(textgen, runs):
    pytest.importorskip("matplotlib")
    before = {path: path.read_bytes() for path in runs["documents"].rglob("*") if path.is_file()}
    shown = textgen("evaluate", runs["documents"], "--num", 5)
    plot = runs["documents"] / "plots" / "evaluation.png"
    assert shown.err == f"plot: {plot}\n"
    assert plot.read_bytes().startswith(b"\x89PNG")
    after = {path: path.read_bytes() for path in runs["documents"].rglob("*") if path.is_file()}
    del after[plot]
    assert after == before
    assert textgen("runs", "show", runs["documents"]).code == 0


def test_a_plot_that_cannot_be_written_is_reported(textgen, runs):
    pytest.importorskip("matplotlib")
    shutil.rmtree(runs["stream"] / "plots", ignore_errors=True)
    (runs["stream"] / "plots").write_text("in the way")
    shown = textgen("evaluate", runs["stream"])
    assert (shown.code, shown.out.count("nats (")) == (0, 2)
    assert shown.err.startswith("textgen: no plot: ")
    assert "evaluation.png" in shown.err


def test_folds_are_judged_in_a_table_and_as_json(textgen, runs):
    found = json.loads(textgen("evaluate", runs["documents"], "--folds", 3, "--json").out)
    assert sum(fold["characters"] for fold in found["folds"]) == sum(
        map(len, "AdaAdamBeatrixBoDoraDorianEdEdaMaxMiaTomTomas")
    )
    shown = textgen("evaluate", runs["documents"], "--folds", 3)
    assert (shown.code, shown.err.count("\n")) == (0, 1), "the command to train on all text"
    rows = [line.split() for line in shown.out.splitlines()]
    assert [row[0] for row in rows] == ["fold", "1", "2", "3", "mean", "deviation"]
    assert [float(row[2]) for row in rows[1:4]] == [round(fold["nats"], 4) for fold in found["folds"]]
    assert rows[4][1:3] == [f"{found['nats']:.4f}", f"{found['bits']:.4f}"]
    assert rows[5][1] == f"{found['nats_deviation']:.4f}"


def test_folds_report_once_what_the_prompt_lacks(textgen, names, monkeypatch):
    quick = ["--model", "counting", "--epochs", 1, "--set", "corpus.layout=lines", "--set", "training.held_out=0.25"]
    lacking = ["--set", "generation.prompt=Zoe", "--set", "tokenizer.on_unknown=skip"]
    assert textgen("train", names, *quick, *lacking, "--out", "run").code == 0
    monkeypatch.setattr(console, "_noticed", set())  # as in a new process
    assert textgen("evaluate", "run", "--folds", 3).err.count("parts of the prompt that are not in") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["documents", "--num", 0], "--num"),
        (["documents", "--folds", 1], "--folds"),
        (["documents", "--folds", 13], "folds must be between 2 and 12 (the number of documents), not 13"),
        (["documents", "--folds", 3, "--runtime", "numpy"], "--runtime cannot be combined with --folds"),
        (["documents", "--folds", 3, "--temperature", 1], "--temperature cannot be combined with --folds"),
        (["documents", "--context", 5], "a context is for streams"),
        (["documents", "--runtime", "numpy"], "use --runtime counting"),
        (["documents", "--seed", -1], "seed must be a whole number from 0"),
        (["stream", "--folds", 3], "this run was trained on a stream"),
        (["documents", "--folds", 3, "--curve"], "--curve cannot be combined with --folds"),
        (["stream", "--num", 0], "--num"),
        (["stream", "--context", 0], "--context"),
        (["nowhere"], "nowhere does not exist"),
    ],
)
def test_mistakes_are_one_line(textgen, trained, arguments, message):
    name, *rest = arguments
    assert message in textgen("evaluate", trained.get(name, name), *rest).error


def test_a_missing_or_changed_corpus_is_reported(textgen, names):
    quick = ["--model", "counting", "--epochs", 1, "--set", "corpus.layout=lines", "--out", "run"]
    assert textgen("train", names, *quick).code == 0
    names.write_text(names.read_text() + "Edda\n")
    shown = textgen("evaluate", "run", "--num", 5)
    assert shown.code == 0
    assert shown.err.splitlines()[0] == (
        "textgen: the corpus file has changed since the run was trained: the text judged here may have been trained on"
    )
    names.unlink()
    assert "names.txt" in textgen("evaluate", "run").error


def test_ctrl_c_ends_the_folds_and_leaves_nothing(environment, trained, tmp_path, install):
    install("stops", STOPS)
    (tmp_path / "scratch").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "textgen", "evaluate", str(trained["documents"]), "--folds", "3"],
        env=environment | {"TMPDIR": str(tmp_path / "scratch")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    assert os.listdir(tmp_path / "scratch") == []


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(textgen, runs, monkeypatch):
    monkeypatch.setattr(console, "LINE_EVERY", 0.0)
    monkeypatch.setattr("textgen.evaluation.samples.TEXTS_AT_ONCE", 50)
    lines = textgen("evaluate", runs["documents"], "--num", 100).err.splitlines()
    assert lines == [
        *[line for line in lines if "held-out tokens: " in line],
        "texts written: 50 of 100",
        "texts written: 100 of 100",
    ]
    terminal = sys.stderr
    monkeypatch.setattr(type(terminal), "isatty", lambda self: self is terminal, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    shown = textgen("evaluate", runs["documents"], "--num", 100)
    assert shown.err.startswith(HIDE_CURSOR)
    assert "texts written: " not in shown.err
    assert "nats" in shown.out


@pytest.mark.parametrize("command", [("sample", "--length", 5, "--seed", 1), ("evaluate", "--num", 2)])
def test_numbers_that_are_not_finite_are_no_json(textgen, names, monkeypatch, command):
    done = textgen("train", names, "--model", "ngram", "--set", "corpus.layout=lines", "--out", "runs/a")
    assert done.code == 0, done.err

    def broken(self: NGram, ids: Any, state: Any, lengths: Any = None) -> Any:
        return np.full((*ids.shape, self.vocab_size), np.nan, np.float32), state

    name, *options = command
    assert json.loads(textgen(name, "runs/a", *options, "--json").out)
    monkeypatch.setattr(NGram, "forward", broken)
    error = textgen(name, "runs/a", *options, "--json").error
    assert "finite" in error
