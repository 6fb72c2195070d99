"""``textgen train --refit RUN``: the same options on all text, for as many epochs as the run's best weights were."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textgen as package
from textgen.runs.artifact import Artifact

QUICK = (
    *("--model", "counting", "--batch-size", 4, "--seed", 3, "--set", "training.held_out=0.25"),
    *("--set", "training.sample_every=0", "--set", "corpus.layout=lines", "--set", "model.smoothing=0.5"),
)

UNJUDGED = "trained on all text, not judged"


@pytest.fixture
def judged(textgen, names) -> Path:
    """A run on names, of six epochs, whose best one comes before the last."""
    assert textgen("train", names, *QUICK, "--epochs", 6, "--out", "judged").code == 0
    assert 1 <= best("judged") < 6
    return Path("judged")


def manifest(run: "Path | str") -> Any:
    return json.loads(Path(run, "textgen.json").read_text())


def history(run: "Path | str") -> list[dict[str, float]]:
    return [json.loads(line) for line in Path(run, "history.jsonl").read_text().splitlines()]


def best(run: "Path | str") -> int:
    losses = [record["held_out_loss"] for record in history(run)]
    return 1 + losses.index(min(losses))


def counts(run: "Path | str") -> Any:
    return Artifact.open(Path(run)).weights()["counts"]


def test_it_trains_on_all_text_for_as_many_epochs_as_the_best_weights_were(textgen, judged, names):
    done = textgen("train", "--refit", judged, "--out", "all")
    assert (done.code, done.out) == (0, "all\n")
    assert len(history("all")) == best(judged)
    # The counting model adds up what it reads: every character after the first, and the end, once an epoch.
    assert counts("all").sum() == best(judged) * sum(map(len, names.read_text().split()))
    before, after = (manifest(run)["settings"] for run in (judged, "all"))
    changed = {"held_out": 0.0, "stop_after": best(judged)}
    assert after == before | {"training": before["training"] | changed}


def test_the_manifest_says_of_which_run_and_how_good_that_was(textgen, judged):
    textgen("train", "--refit", judged, "--out", "all")
    assert manifest("all")["refit"] == {
        "run": str(judged.absolute()),
        "weights_sha256": manifest(judged)["files"]["weights.safetensors"]["sha256"],
        "epoch": best(judged),
        "held_out_loss": min(record["held_out_loss"] for record in history(judged)),
    }
    assert manifest(judged)["refit"] is None


def test_it_is_marked_as_not_judged(textgen, judged, monkeypatch):
    monkeypatch.setenv("TEXTGEN_RUNS_DIR", ".")
    done = textgen("train", "--refit", judged, "--out", "all")
    assert "judged again on all text, into all" in " ".join(done.err.split())
    assert UNJUDGED in " ".join(done.err.split())
    listed = {line.split()[0]: line for line in " ".join(textgen("runs", "list").out.split("\n    ")).splitlines()}
    assert (UNJUDGED in listed["all"], UNJUDGED in listed["judged"]) == (True, False)
    shown = " ".join(textgen("runs", "show", "all").out.split())
    assert UNJUDGED in shown
    assert f"refit of judged, best after epoch {best(judged)}: held out " in shown


def test_an_evaluation_names_the_run_to_evaluate_instead(textgen, judged):
    textgen("train", "--refit", judged, "--out", "all")
    error = textgen("evaluate", "all").error
    assert UNJUDGED in error
    assert textgen(*shlex.split(error[error.index("evaluate /") :])).code == 0
    assert textgen("sample", "all", "--seed", 1).code == 0


def test_other_options_override_those_of_the_run(textgen, judged):
    options = ("--batch-size", 3, "--set", "training.stop_after=5", "--set", "generation.length=7")
    planned = json.loads(textgen("train", "--refit", judged, *options, "--dry-run").out)
    assert planned["refit"] == "judged"
    assert (planned["steps_per_epoch"], planned["epochs"], planned["held_out_examples"]) == (4, 5, 0)
    assert planned["settings"]["generation"]["length"] == 7
    assert not Path("all").exists()


def test_a_stopped_one_is_resumed_exactly(textgen, judged):
    textgen("train", "--refit", judged, "--out", "whole", "--set", "training.stop_after=4")
    textgen("train", "--refit", judged, "--out", "parts", "--set", "training.stop_after=4", "--max-steps", 5)
    assert textgen("train", "--resume", "parts", "--set", "training.max_steps=none").code == 0
    np.testing.assert_array_equal(counts("parts"), counts("whole"))
    assert len(history("whole")) == 4
    assert manifest("parts")["refit"] == manifest("whole")["refit"]
    assert UNJUDGED in " ".join(textgen("runs", "show", "parts").out.split())
    error = textgen("train", "--resume", "parts").error
    longer = shlex.split(error[error.index("textgen train --resume") :])
    assert textgen(*longer[1:]).code == 0
    assert history("parts")[-1]["epoch"] == 6, "twice as many as four, but not more than all"


def test_a_run_that_was_best_at_its_last_batch_has_as_many_batches_again(textgen, names):
    textgen("train", names, *QUICK, "--max-steps", 3, "--out", "short")
    textgen("train", "--refit", "short", "--out", "all")
    assert (history("short")[-1]["epoch"], manifest("short")["metrics"]["step"]) == (1, 3)
    assert (history("all")[-1]["step"], manifest("all")["settings"]["training"]["stop_after"]) == (3, None)


def test_a_fine_tuned_run_begins_with_the_weights_that_it_began_with(textgen, judged, names):
    textgen("train", names, "--from", judged, "--epochs", 2, "--set", "corpus.layout=lines", "--out", "tuned")
    textgen("train", "--refit", "tuned", "--out", "all")
    whole = best("tuned") * sum(map(len, names.read_text().split()))
    assert counts("all").sum() == counts(judged).sum() + whole
    assert manifest("all")["lineage"] == manifest("tuned")["lineage"]
    shutil.rmtree(judged)
    assert (
        "has to begin again with the weights of a run that cannot be read" in textgen("train", "--refit", "tuned").error
    )


def test_a_text_that_has_changed_is_reported(textgen, judged, names):
    names.write_text(names.read_text() + "Zoe\n")
    done = textgen("train", "--refit", judged, "--out", "all")
    assert "textgen: the text of judged has changed since the run began" in done.err
    assert done.code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["names.txt"], "a text file cannot be combined with --refit: that comes from the run"),
        (["--corpus", "dinos-lite"], "--corpus cannot be combined with --refit"),
        (["--model", "counting"], "--model cannot be combined with --refit"),
        (["--from", "judged"], "--from cannot be combined with --refit"),
        (["--resume", "judged"], "--refit cannot be combined with --resume"),
        (["--set", "training.held_out=0.1"], "a refit of judged holds no text out; leave out training.held_out"),
        (["--out", "judged", "--overwrite"], "--out would replace judged, from which the new run comes"),
    ],
)
def test_what_comes_from_the_run_cannot_be_given(textgen, judged, options, message):
    assert message in textgen("train", "--refit", judged, *options).error


def test_the_best_epoch_must_be_known(textgen, judged):
    textgen("train", "--refit", judged, "--out", "all")
    error = textgen("train", "--refit", "all").error
    assert "all is itself a refit, whose best epoch is not known" in error
    assert textgen(*shlex.split(error[error.index("train --refit") :]), "--dry-run").code == 0
    unjudged = manifest(judged)
    del unjudged["metrics"]["held_out_loss"]
    Path("unjudged").mkdir()
    (Path("unjudged") / "textgen.json").write_text(json.dumps(unjudged))
    assert "unjudged has no held-out loss, by which its best epoch" in textgen("train", "--refit", "unjudged").error
    stopped = manifest(judged)
    stopped["status"] = "interrupted"
    (judged / "textgen.json").write_text(json.dumps(stopped))
    error = textgen("train", "--refit", judged).error
    assert error.endswith("not known before it is finished; resume it first, with: textgen train --resume judged")


def test_the_folds_name_the_command_for_their_epochs(textgen, judged):
    found = textgen("evaluate", judged, "--folds", 3)
    epochs = [int(row.split()[-1]) for row in found.out.splitlines()[1:4]]
    assert package.cross_validate(judged, folds=3).epochs == tuple(epochs)
    command = found.err[found.err.index("train --refit") :]
    assert textgen(*shlex.split(command), "--out", "all").code == 0
    assert len(history("all")) == sorted(epochs)[1]


def test_in_python(judged, textgen):
    run = package.train(refit=judged, settings={"training": {"stop_after": 2}}, out="all")
    assert run.artifact.manifest.refit is not None
    assert len(history("all")) == 2
    for options in ({"corpus": "dinos-lite"}, {"text": "abc"}, {"model": "counting"}, {"from_": judged}):
        (name,) = options
        with pytest.raises(package.errors.OptionError, match=f"{name} cannot be combined with refit"):
            package.train(refit=judged, **options)
