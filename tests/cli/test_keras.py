"""Keras models on the command line, from a text file to generated text."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from textgen.runs.artifact import Artifact

pytestmark = pytest.mark.keras

SAMPLE = """
import sys
from textgen.cli import main
try:
    main()
finally:
    print(sorted({"keras", "tensorflow"} & set(sys.modules)), file=sys.stderr)
"""


def test_a_model_is_trained_resumed_and_sampled(textgen, names):
    options = ["--model", "gru", "--set", "model.units=8", "--set", "corpus.layout=lines", "--batch-size", 4]
    done = textgen("train", names, *options, "--epochs", 3, "--max-steps", 4, "--out", "run")
    assert (done.code, done.out) == (0, "run\n")
    assert done.err.splitlines()[0].startswith("gru with ")
    resumed = textgen("train", "--resume", "run", "--max-steps", 9)
    assert resumed.err.splitlines()[1].endswith("resumed after batch 4")
    assert Artifact.open(Path("run")).manifest.status == "finished"

    arguments = ["sample", "run", "--prompt", "Ad", "--num", 5, "--seed", 3, "--length", 30]
    written = textgen(*arguments, "--runtime", "numpy")
    assert len(written.out.splitlines()) == 5
    assert textgen(*arguments, "--runtime", "keras").out == written.out
    assert textgen(*arguments, "--runtime", "keras", "--stream").out == written.out

    fresh = subprocess.run(
        [sys.executable, "-c", SAMPLE, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    assert (fresh.stdout, fresh.stderr) == (written.out, "[]\n")


def test_a_recipe_is_trained_on_the_users_text(textgen, names):
    small = ["--set", "corpus.layout=lines", "--set", "model.units=8", "--epochs", 1]
    done = textgen("train", names, "--recipe", "agnews-lstm", *small, "--out", "run")
    assert (done.code, done.out) == (0, "run\n")
    settings = Artifact.open(Path("run")).manifest.settings
    assert settings["model"]["input"] == "one-hot"
    assert settings["training"]["batch_size"] == 8
    rows = json.loads(textgen("sample", "run", "--num", 3, "--json").out)
    assert {row["sampler"] for row in rows} == {"temperature(0.7) | multinomial"}


def test_a_refit_learns_as_the_first_epochs_of_a_run_of_all(textgen, names):
    """The step size of the last batch is far from 0; the weights are those of that epoch."""

    def epochs(run: str) -> list[tuple[float, float]]:
        lines = map(json.loads, Path(run, "history.jsonl").read_text().splitlines())
        return [(line["loss"], line["learning_rate"]) for line in lines]

    options = ["--model", "gru", "--set", "model.units=8", "--set", "corpus.layout=lines", "--batch-size", 4]
    options += ["--epochs", 8, "--set", "training.sample_every=0"]
    assert textgen("train", names, *options, "--out", "judged").code == 0
    assert textgen("train", "--refit", "judged", "--set", "training.stop_after=3", "--out", "all").code == 0
    assert textgen("train", names, *options, "--set", "training.held_out=0", "--out", "whole").code == 0
    assert epochs("all") == epochs("whole")[:3]
    assert textgen("train", "--resume", "all", "--set", "training.stop_after=none").code == 0
    assert epochs("all") == epochs("whole")
    found, whole, judged = (dict(Artifact.open(Path(run)).weights()) for run in ("all", "whole", "judged"))
    # Nothing is held out to fit the powers of network and n-gram to: a refit keeps those of its run.
    np.testing.assert_array_equal(found.pop("ngram.powers"), judged["ngram.powers"])
    del whole["ngram.powers"]
    assert all((found[name] == whole[name]).all() for name in whole)


def test_cuda_without_a_gpu_is_one_line(textgen, names):
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU that works")
    outcome = textgen("train", names, "--device", "cuda", "--set", "training.length=10", "--out", "run")
    # TensorFlow is imported, which takes seconds, only after the header is shown.
    *header, error = outcome.err.splitlines()
    assert (outcome.code, outcome.out) == (2, "")
    assert error.startswith("textgen: error: TensorFlow cannot use cuda: ")
    assert not any(line.startswith("textgen:") for line in header)
    assert not Path("run").exists()
