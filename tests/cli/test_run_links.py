"""Runs of somebody else whose files are links or pipes: what textgen writes and deletes unasked stays in the folder."""

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the files are those of POSIX"),
    pytest.mark.usefixtures("alarm"),
]

MORE = ("--epochs", 5)


@pytest.fixture
def run(trained) -> Path:
    """A run that a test may harm."""
    shutil.copytree(trained["documents"], "run")
    return Path("run")


@pytest.fixture
def theirs(trained) -> Path:
    """A run that no command names."""
    shutil.copytree(trained["documents"], "theirs")
    for name in ("checkpoints", "plots"):
        Path("theirs", name, ".textgen-0123456789abcdef.tmp").write_text("left over")
    Path("theirs/checkpoints/step-99999999.safetensors").write_text("the best so far")
    return Path("theirs")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def link(path: Path, target: Path) -> None:
    """Replaces a file or a folder by a link."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target.absolute())


@pytest.mark.parametrize("name", ["checkpoints", "plots"])
def test_nothing_is_deleted_through_a_link(textgen, run, theirs, name):
    before = contents(theirs)
    link(run / name, theirs / name)
    shown = textgen("sample", run, "--seed", 3)
    assert (shown.code, shown.err) == (0, "")
    assert contents(theirs) == before


OF_TRAINING = [
    *("textgen.json", "tokenizer.json", "weights.safetensors", "history.jsonl", "history.csv", "samples.txt"),
    *("plots/training.png", "checkpoints", "plots"),
]


@pytest.mark.parametrize("name", OF_TRAINING)
def test_a_run_is_not_resumed_through_a_link(textgen, run, theirs, name):
    before = contents(theirs)
    link(run / name, theirs / name)
    error = textgen("train", "--resume", run, *MORE).error
    assert "is a link that leaves the folder" in error
    assert f"run/{name}" in error
    assert contents(theirs) == before


def test_figures_for_tensorboard_stay_in_the_folder(textgen, run):
    Path("theirs").mkdir()
    link(run / "tensorboard", Path("theirs"))
    assert "run/tensorboard is a link" in textgen("train", "--resume", run, *MORE, "--tensorboard").error
    assert not os.listdir("theirs")


@pytest.mark.parametrize("name", ["plots/evaluation.png", "plots"])
@pytest.mark.parametrize("is_there", [True, False])
def test_the_plot_of_an_evaluation_is_not_drawn_through_a_link(textgen, run, theirs, name, is_there):
    (theirs / "plots" / "evaluation.png").write_text("precious")
    before = contents(theirs)
    link(run / name, theirs / name if is_there else Path("nowhere"))
    assert "is a link that leaves the folder" in textgen("evaluate", run).error
    assert contents(theirs) == before
    assert not Path("nowhere").exists()


@pytest.mark.parametrize("name", ["history.csv", "samples.txt", "plots/training.png"])
def test_a_pipe_in_a_run_is_refused_at_once(textgen, run, name):
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    assert f"run/{name} is a device, a pipe or a socket" in textgen("train", "--resume", run, *MORE).error
    assert stat.S_ISFIFO((run / name).stat().st_mode)


def test_an_evaluation_is_not_drawn_into_a_pipe(textgen, run):
    os.mkfifo(run / "plots" / "evaluation.png")
    assert "run/plots/evaluation.png is a device, a pipe or a socket" in textgen("evaluate", run).error


def test_a_link_within_the_run_is_replaced_by_the_file(textgen, run):
    link(run / "history.csv", run / "weights.safetensors")
    assert textgen("train", "--resume", run, *MORE).code == 0
    assert not (run / "history.csv").is_symlink()
    assert (run / "history.csv").read_text().startswith("epoch,step")
    assert textgen("sample", run, "--seed", 3).code == 0


def test_the_folder_of_a_run_may_itself_be_a_link(textgen, run):
    Path("latest").symlink_to(run)
    assert textgen("train", "--resume", "latest", *MORE).code == 0
    assert textgen("sample", "latest", "--seed", 3).code == 0
    assert textgen("evaluate", "latest").code == 0
    assert Path("latest").is_symlink()
    assert (run / "plots" / "evaluation.png").is_file()


@pytest.mark.parametrize("command", [("sample", "run", "--seed", 3), ("train", "--resume", "run", *MORE)])
def test_files_that_only_resemble_checkpoints_are_kept(textgen, run, command):
    (run / "checkpoints").mkdir(exist_ok=True)
    resembling = [
        *("step-00000016-backup.safetensors", "old-step-00000008.safetensors.bak", "step-00000008.safetensors.bak"),
        *("step-8.safetensors", "my-step-00000008.safetensors"),
    ]
    for name in (*resembling, "step-00000001.safetensors"):
        (run / "checkpoints" / name).write_text("the only copy")
    assert textgen(*command).code == 0
    left = set(os.listdir(run / "checkpoints"))
    assert left >= set(resembling)
    assert "step-00000001.safetensors" not in left
