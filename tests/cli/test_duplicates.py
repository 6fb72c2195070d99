"""Duplicates leave a corpus of documents before it is split."""

import json
from pathlib import Path

import pytest

import textgen as package
from textgen.runs.artifact import Artifact

QUICK = (
    *("--model", "counting", "--batch-size", 4, "--epochs", 2, "--set", "training.held_out=0.25"),
    *("--set", "training.sample_every=0", "--set", "corpus.layout=lines"),
)
KEEP = ("--set", "training.drop_duplicates=false")


@pytest.fixture
def repeated(names) -> Path:
    """Twelve names, of which the first four are there three times, and the last one twice."""
    lines = names.read_text().splitlines()
    path = Path("repeated.txt")
    path.write_text("\n".join([*lines[:4], "", *lines, *lines[:4], lines[-1]]) + "\n")
    return path


def losses(run: str) -> list[float]:
    return [json.loads(line)["held_out_loss"] for line in Path(run, "history.jsonl").read_text().splitlines()]


def without_the_option(run: str) -> None:
    """Make the manifest of a run that of one which was trained before there was the option."""
    file = Path(run, "textgen.json")
    manifest = json.loads(file.read_text())
    del manifest["settings"]["training"]["drop_duplicates"]
    file.write_text(json.dumps(manifest))


def test_they_are_left_out_counted_and_told(textgen, names, repeated):
    done = textgen("train", repeated, *QUICK, "--out", "run")
    told = "12 documents (9 duplicates are left out; --set training.drop_duplicates=false keeps them)"
    assert told in " ".join(done.err.split())
    assert json.loads(textgen("train", repeated, *QUICK, "--dry-run").out)["duplicates"] == 9


def test_without_them_the_order_of_the_first_ones_is_kept(textgen, names, repeated):
    """The distinct documents are in the order in which each is first, which is that of the file without repetitions."""
    textgen("train", names, *QUICK, "--out", "once")
    textgen("train", repeated, *QUICK, "--out", "dropped")
    assert losses("dropped") == losses("once")
    hashes = [Artifact.open(Path(run)).manifest.provenance["text_sha256"] for run in ("once", "dropped")]
    assert hashes[0] == hashes[1]
    evaluated = [json.loads(textgen("evaluate", run, "--num", 20, "--json").out) for run in ("once", "dropped")]
    for each in evaluated:
        del each["run"]
    assert evaluated[0] == evaluated[1]
    assert evaluated[1]["written"]["held_out"]["novelty"] == 1.0, "no held-out document was trained on"


def test_weights_by_repetition_can_be_kept(textgen, repeated):
    done = textgen("train", repeated, *QUICK, *KEEP, "--out", "kept")
    assert "21 documents, " in done.err
    assert json.loads(textgen("evaluate", "kept", "--json").out)["documents"] == round(21 / 4)


def test_folds_have_each_document_once(textgen, repeated):
    textgen("train", repeated, *QUICK, "--out", "run")
    names = set(repeated.read_text().split())
    validation = package.cross_validate("run", folds=3)
    # A document is judged by all of its characters but the first, and by its end.
    assert sum(fold.characters for fold in validation.folds) == sum(map(len, names))


def test_a_run_that_was_recorded_before_the_option_keeps_them(textgen, repeated):
    textgen("train", repeated, *QUICK, *KEEP, "--out", "run")
    before = textgen("evaluate", "run", "--json").out
    without_the_option("run")
    assert textgen("evaluate", "run", "--json").out == before
    assert textgen("train", "--resume", "run", "--epochs", 4).code == 0
    textgen("train", repeated, *QUICK, *KEEP, "--epochs", 4, "--out", "whole")
    assert losses("run") == losses("whole")


def test_they_cannot_come_back_when_a_run_is_resumed(textgen, repeated):
    textgen("train", repeated, *QUICK, "--out", "run")
    refused = textgen("train", "--resume", "run", "--epochs", 4, *KEEP)
    assert "training.drop_duplicates cannot change when a run is resumed" in refused.error


def test_a_text_to_fine_tune_on_has_its_own(textgen, repeated):
    textgen("train", repeated, *QUICK, *KEEP, "--out", "run")
    tuned = json.loads(textgen("train", repeated, "--from", "run", "--set", "corpus.layout=lines", "--dry-run").out)
    assert (tuned["documents"], tuned["duplicates"]) == (12, 9)


def test_a_text_of_nothing_but_duplicates_is_refused_in_a_line_that_counts_them(textgen):
    Path("same.txt").write_text("Ada\n" * 50)
    refused = textgen("train", "same.txt", *QUICK)
    assert "49 duplicates are left out; --set training.drop_duplicates=false keeps them" in refused.error
