"""A run's folder belongs to one run, and is written by one process at a time."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from textgen.runs.artifact import Artifact

QUICK = ["--model", "counting", "--batch-size", "4", "--set", "training.sample_every=0", "--set", "corpus.layout=lines"]

#: A model that cannot train: with another Keras backend, TensorFlow is not even imported.
UNABLE = ["--model", "gru", "--set", "corpus.layout=lines"]

#: Slows training down, so that a test can interfere with it.
SLOW = """
import time
from textgen import hookimpl

@hookimpl
def textgen_batch_ended(position):
    time.sleep(0.05)
"""


@pytest.fixture
def start(install, environment) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts slow training in its own process, which is killed at the end of the test."""
    install("slow", SLOW)
    started = []

    def call(*arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "textgen", "train", *arguments]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate()


def test_runs_that_start_at_the_same_time_get_separate_folders(start, names):
    together = [start(str(names), *QUICK, "--epochs", "1", "--seed", str(seed)) for seed in range(4)]
    assert [process.wait() for process in together] == [0] * 4
    runs = [Artifact.open(folder) for folder in Path("runs").iterdir()]
    assert sorted(run.manifest.settings["training"]["seed"] for run in runs) == [0, 1, 2, 3]
    for run in runs:
        run.verify()


def test_a_run_is_locked_until_its_process_ends_or_is_killed(start, textgen, names):
    at_work = start(str(names), *QUICK, "--epochs", "500", "--out", "run")
    while not Path("run/checkpoints").is_dir() and at_work.poll() is None:
        time.sleep(0.02)
    taken = "run is being written by another process; wait until it has ended, or stop it"
    assert textgen("train", "--resume", "run").error == taken
    assert textgen("train", names, *QUICK, "--out", "run", "--overwrite").error == taken
    assert textgen("sample", "run", "--seed", 1).code == 0
    assert at_work.poll() is None
    at_work.kill()
    at_work.wait()
    done = Artifact.open(Path("run")).manifest.metrics["epoch"]
    assert textgen("train", "--resume", "run", "--epochs", int(done) + 2).code == 0


def test_a_run_is_not_overwritten_if_the_new_one_cannot_train(process, names):
    assert process("train", names, *QUICK, "--epochs", 1, "--out", "run").code == 0
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    failed = process("train", names, *UNABLE, "--out", "run", "--overwrite", KERAS_BACKEND="jax")
    assert failed.code == 2
    assert "textgen trains on TensorFlow" in failed.err
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("out", [[], ["--out", "new/run"]])
def test_a_run_that_cannot_begin_leaves_no_folder(process, names, out):
    before = set(Path().iterdir())
    assert "textgen trains on TensorFlow" in process("train", names, *UNABLE, *out, KERAS_BACKEND="jax").err
    assert set(Path().iterdir()) == before


def test_printed_commands_can_be_pasted(textgen, names):
    shown = textgen("train", names, *QUICK, "--epochs", 1, "--out", "my runs/a b").err
    assert shown.splitlines()[-1].endswith("Write text with: textgen sample 'my runs/a b'")


def test_names_and_text_on_the_command_line_override_a_configuration(textgen, names, verse):
    Path("run.toml").write_text(
        f'[corpus]\nname = "file"\npath = "{verse}"\nlayout = "lines"\n[model]\nname = "gru"\nunits = 8\n'
    )
    shown = textgen("train", names, "--config", "run.toml", "--model", "lstm", "--set", "model.name=gru", "--dry-run")
    settings = json.loads(shown.out)["settings"]
    assert Path(settings["corpus"]["path"]).name == names.name
    assert settings["corpus"]["layout"] == "lines"
    assert settings["model"]["name"] == "lstm"


def test_a_name_in_a_configuration_must_be_a_string(textgen, names):
    Path("run.toml").write_text("[model]\nname = 3\n")
    assert (
        textgen("train", names, "--config", "run.toml").error
        == 'run.toml: model.name must be a string, as in name = "3"'
    )
