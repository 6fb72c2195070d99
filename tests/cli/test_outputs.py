"""Files that a command writes by a user's name: into devices, through links, and never over the files of a run."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from textgen import api
from textgen.errors import OptionError
from textgen.runs.artifact import Artifact
from textgen.testing import counting, registered

SAMPLE = ["--prompt", "Ad", "--seed", 3, "--length", 5, "--ignore-eos"]


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A run that a test may harm."""
    shutil.copytree(trained["documents"], "run")
    return Path("run")


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_device_is_written_into_and_not_replaced(textgen, run):
    Path("null").symlink_to("/dev/null")
    for path in ("/dev/null", "null"):
        assert textgen("sample", run, *SAMPLE, "--save-state", path).code == 0
        assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
        assert Path("null").is_symlink()


def test_a_pipe_is_written_into_and_not_replaced(textgen, run):
    os.mkfifo("pipe")
    reader = subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE)
    assert textgen("sample", run, *SAMPLE, "--save-state", "pipe").code == 0
    Path("state").write_bytes(reader.communicate()[0])
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)
    assert textgen("sample", run, "--load-state", "state", "--length", 3).code == 0


def test_stdout_gets_the_state_after_the_text(environment, run):
    done = subprocess.run(
        [sys.executable, "-m", "textgen", *map(str, ["sample", run, *SAMPLE, "--save-state", "/dev/stdout"])],
        env=environment,
        capture_output=True,
        check=True,
    )
    text, _, state = done.stdout.partition(b"\n")
    assert text.startswith(b"Ad")
    assert b"textgen-state-1" in state


def test_a_link_is_written_through_and_stays(textgen, run):
    Path("states").mkdir()
    Path("link").symlink_to("states/a")
    for _ in ("dangling", "there"):
        assert textgen("sample", run, *SAMPLE, "--save-state", "link").code == 0
        assert os.readlink("link") == "states/a"
        assert textgen("sample", run, "--load-state", "states/a", "--length", 3).code == 0
        assert os.listdir("states") == ["a"]


@pytest.mark.parametrize(
    "name",
    [
        *("textgen.json", "tokenizer.json", "weights.safetensors", "history.jsonl", "history.csv", "samples.txt"),
        *("checkpoints/new.safetensors", "WEIGHTS.safetensors", "onnx/new.state"),
    ],
)
@pytest.mark.parametrize("way", ["directly", "through a link", "with dots", "of a broken run"])
def test_the_files_of_a_run_are_refused_before_any_text_is_written(textgen, run, trained, name, way):
    path = run / name
    path.parent.mkdir(exist_ok=True)
    if way == "through a link":
        Path("link").symlink_to(path)
        path = Path("link")
    elif way == "with dots":
        path = run / "checkpoints" / ".." / name
    elif way == "of a broken run":
        (run / "textgen.json").write_text("{")
    before = contents(run)
    error = textgen("sample", trained["documents"], *SAMPLE, "--save-state", path).error
    assert "belongs to" in error
    assert "would be destroyed; choose another path for --save-state" in error
    assert contents(run) == before


def test_every_recorded_file_is_refused(textgen, run):
    files = list(Artifact.open(run).manifest.files)
    for name in files:
        assert "belongs to" in textgen("sample", run, *SAMPLE, "--save-state", run / name).error
    plots = [name for name in files if name.endswith(".png")]
    assert plots
    for name in plots:
        assert "belongs to" in textgen("corpora", "info", "dinos-lite", "--plot", run / name).error
    Artifact.open(run).verify()


def test_nothing_but_a_saved_state_is_replaced(textgen, run, names):
    text = Path(names).read_bytes()
    Path("link").symlink_to(names)
    for path in (names, "link"):
        error = textgen("sample", run, *SAMPLE, "--save-state", path).error
        assert error.endswith(f"{path} exists and is not a saved state; choose another path for --save-state")
    assert Path(names).read_bytes() == text
    Path("a.state").touch()
    for _ in ("an empty file", "a state"):
        assert textgen("sample", run, *SAMPLE, "--save-state", "a.state").code == 0
    assert textgen("sample", run, "--load-state", "a.state", "--length", 3).code == 0


def test_a_new_file_in_the_folder_of_a_run_is_allowed(textgen, run):
    assert textgen("sample", run, *SAMPLE, "--save-state", run / "a.state").code == 0
    Artifact.open(run).verify()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("missing/a.state", "there is no folder missing; make it"),
        ("folder", "it is a folder"),
        ("to-folder", "it is a folder"),
        ("names.txt/a.state", "there is no folder names.txt"),
        ("circle", "too many"),
        ("", "it is a folder"),
        ("/dev/fd/987", "bad file descriptor"),
    ],
)
def test_where_nothing_can_be_written_no_text_is_written_either(textgen, run, names, path, why):
    Path("folder").mkdir()
    Path("to-folder").symlink_to("folder")
    Path("circle").symlink_to("circle")
    error = textgen("sample", run, *SAMPLE, "--save-state", path).error
    assert why in error
    assert error.endswith("choose another path for --save-state")
    assert not Path("missing").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to become another user")
@pytest.mark.parametrize("what", ["folder", "file"])
def test_without_permission_no_text_is_written(trained, what, tmp_path):
    place = Path("/tmp") / f"textgen-{os.getpid()}-{what}"
    place.mkdir()
    place.chmod(0o755 if what == "folder" else 0o777)
    if what == "file":
        (place / "state").write_text("theirs")
        (place / "state").chmod(0o644)
    from textgen.runs.output import check_output

    child = os.fork()
    if not child:
        os.setuid(65534)
        try:
            check_output(place / "state", "--save-state")
        except OptionError as error:
            os._exit(7 if "permission denied; choose another" in str(error) else 1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    shutil.rmtree(place)
    assert code == 7


def test_python_refuses_the_files_of_a_run_too(run):
    with registered(counting, name="counting"):
        generator = api.load(run)
        (generation,) = generator.sample(generator.request("Ad", length=5, seed=1, keep_state=True))
        state = generation.continuation
        assert state is not None
        with pytest.raises(OptionError, match=r"belongs to .*run and would be destroyed"):
            generator.save_continuation(run / "weights.safetensors", state)
    Artifact.open(run).verify()


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o002, 0o664)])
def test_the_umask_is_honoured_everywhere(textgen, names, umask, mode):
    before = os.umask(umask)
    try:
        arguments = ["--model", "counting", "--set", "corpus.layout=lines", "--epochs", 1, "--out", "new/run"]
        assert textgen("train", names, *arguments).code == 0
        assert textgen("sample", "new/run", *SAMPLE, "--save-state", "new/state").code == 0
        assert textgen("plugins", "new", "birds", "--kind", "corpus", "--out", "new/birds").code == 0
    finally:
        os.umask(before)
    for path in Path("new").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o777 & ~umask if path.is_dir() else mode), path


def test_a_dangling_link_is_no_folder_for_a_run(textgen, names):
    Path("link").symlink_to("nowhere")
    arguments = ["--model", "counting", "--set", "corpus.layout=lines", "--epochs", 1]
    assert "link to a folder that does not exist" in textgen("train", names, *arguments, "--out", "link").error
