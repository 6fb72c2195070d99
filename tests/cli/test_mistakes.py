"""Mistakes of users: one clear line, exit code 2, and no half-written files."""

import errno
import json
import os
import shlex
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from textgen import hookimpl
from textgen.runs.artifact import Artifact
from textgen.runs.manifest import FORMAT_VERSION
from textgen.testing import registered


def contents() -> dict[str, int]:
    """Every file below the working directory, with its modification time."""
    return {str(path): path.stat().st_mtime_ns for path in sorted(Path().rglob("*"))}


@pytest.fixture
def mistake(textgen):
    """The error message of a command, which must leave all files unchanged."""

    def call(*arguments: object) -> str:
        before = contents()
        error: str = textgen(*arguments).error
        assert contents() == before
        return error

    return call


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--corpus", "shakespear"], "unknown corpus 'shakespear'; did you mean shakespeare?"),
        (["--recipe", "dino-gru"], "unknown recipe 'dino-gru'; did you mean dinos-gru?"),
        (["names.txt", "--tokenizer", "char-eof"], "unknown tokenizer 'char-eof'; did you mean char-eos"),
        (["names.txt", "--set", "generation.sampler=greed"], "unknown sampler 'greed'; did you mean greedy?"),
        (["names.txt", "--set", "modle.units=3"], "unknown table 'modle'; did you mean model?"),
        (["names.txt", "--set", "model.smoothin=3"], "model has no option 'smoothin'; did you mean smoothing?"),
        (["names.txt", "--set", "model.smoothing=0"], "model.smoothing must be above 0, not 0"),
        (["names.txt", "--set", "training.epochs=x"], "training.epochs must be a whole number, not 'x'"),
        (["names.txt", "--set", "generation.stop=['a"], "is not a TOML value"),
        (["names.txt", "--set", "smoothing=3"], "'smoothing=3' is not of the form table.option=value"),
        (["names.txt", "--set", "model.smoothing"], "'model.smoothing' is not of the form table.option=value"),
        (["names.txt", "--epochs", 0], "training.epochs must be at least 1, not 0"),
        (["names.txt", "--seed", -1], "training.seed must be "),
        (["names.txt", "--device", "tpu"], "training.device: "),
        (["names.txt", "--on-unknown", "unk"], "tokenizer.on_unknown must be 'error' or 'skip', not 'unk'"),
        (["names.txt", "--set", "generation.prompt=Q"], "generation.prompt: character 'Q'"),
        (["names.txt", "--corpus", "dinos-lite"], "give either the text file names.txt or --corpus dinos-lite"),
        ([], "no corpus is chosen"),
    ],
)
def test_a_wrong_name_or_option_of_training(mistake, names, arguments, error):
    model = [] if "--recipe" in arguments else ["--model", "counting"]
    assert error in mistake("train", *arguments, *model)


def test_an_unknown_model_has_its_nearest_names(mistake, names):
    assert mistake("train", names, "--model", "gruu") == "unknown model 'gruu'; did you mean gru?"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("model = 3", "model must be a table"),
        ("[modle]\nunits = 3", "unknown table 'modle'; did you mean model?"),
        ("[model", "cannot read the configuration run.toml"),
        ("[model]\nsmoothing = -1", "model.smoothing must be above 0"),
        ("[training]\nbatch = 3", "training has no option 'batch' for the model 'counting'; did you mean batch_size?"),
    ],
)
def test_a_wrong_configuration(mistake, names, content, error):
    Path("run.toml").write_text(content)
    assert error in mistake("train", names, "--config", "run.toml", "--model", "counting")


@pytest.mark.parametrize("name", ["nowhere.toml", ".", "binary.toml"])
def test_a_configuration_that_cannot_be_read(mistake, names, name):
    Path("binary.toml").write_bytes(bytes(range(256)))
    assert f"cannot read the configuration {name}" in mistake("train", names, "--config", name)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "the corpus is empty: mine.txt has no text"),
        (b" \r\n\n", "the corpus is empty: mine.txt has no text"),
        (b"abc\n", "the corpus has 4 tokens to train on, a window of training.length=100 needs 101: use more text"),
        (bytes(range(256)), "mine.txt is not utf-8 text"),
        (b"\0\0\0", "mine.txt is not utf-8 text"),
        ("größe".encode("latin-1") * 99, "name its encoding"),
    ],
)
@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_a_file_that_cannot_be_trained_on(mistake, content, error, dry_run):
    Path("mine.txt").write_bytes(content)
    assert error in mistake("train", "mine.txt", "--model", "counting", *dry_run)


def test_a_file_that_is_missing_or_a_folder(mistake):
    assert mistake("train", "nowhere.txt") == "nowhere.txt does not exist; check the path"
    assert mistake("train", ".") == "the folder . has no text files; check the path"


def test_fewer_documents_than_a_batch_or_to_hold_out(mistake, textgen, names):
    lines = ["names.txt", "--model", "counting", "--set", "corpus.layout=lines"]
    big = ["--batch-size", 99, "--set", "training.drop_remainder=true"]
    assert "fewer than one batch" in mistake("train", *lines, *big)
    error = mistake("train", *lines, "--set", "training.held_out=0.01")
    assert "held-out share" in error
    assert textgen("train", *lines, *shlex.split(error.rsplit(" or ")[1]), "--out", "larger").code == 0
    Path("one.txt").write_text("one line alone\n")
    error = mistake("train", "one.txt", *lines[1:])
    assert error.endswith("use more text or --set training.held_out=0")


def test_a_data_folder_that_is_not_a_folder(mistake, names, monkeypatch):
    error = "the data folder nowhere is not a folder; correct --data-dir or TEXTGEN_DATA_DIR"
    assert mistake("train", names, "--data-dir", "nowhere") == error
    monkeypatch.setenv("TEXTGEN_DATA_DIR", "nowhere")
    assert mistake("train", names) == error


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--top-k", 0], "top-k.k must be at least 1"),
        (["--top-p", 1.5], "top-p.p must be at most 1"),
        (["--min-p", -1], "min-p.p must be "),
        (["--temperature", -0.5], "temperature must be at least 0"),
        (["--temperature", "nan"], "temperature must be "),
        (["--repetition-penalty", 0], "repetition-penalty.penalty must be "),
        (["--seed", -1], "seed must be a whole number from 0 to 2**64 - 1, not -1"),
        (["--seed", 2**64], "seed must be a whole number from 0 to 2**64 - 1"),
        (["--sampler", "temperatur(1) | greedy"], "unknown sampler 'temperatur'; did you mean temperature?"),
        (["--sampler", ""], "'' in the sampler chain '' is not of the form name or name(value)"),
        (["--sampler", "temperature(1)"], "must end in a selector"),
        (["--sampler", "temperature(1"], "is not of the form name or name(value)"),
        (["--sampler", "greedy", "--top-k", 3], "a sampler chain and top-k exclude each other"),
        (["--runtime", "nump"], "unknown runtime 'nump'; did you mean numpy?"),
        (["--runtime", "numpy"], "use --runtime counting"),
        (["--runtime", "counting", "--device", "cuda"], "cuda"),
        (["--device", "cuda"], "cuda"),
        (["--prompts-file", "nowhere.txt"], "the prompts in nowhere.txt cannot be read: No such file or directory"),
        (["--prompts-file", "."], "the prompts in . cannot be read: Is a directory"),
        (["--prompts-file", "blank.txt"], "blank.txt has no prompts; write one per line"),
        (["--prompts-file", "binary.txt"], "the prompts in binary.txt are not UTF-8 text at byte 128"),
    ],
)
def test_a_wrong_option_of_sampling(mistake, trained, arguments, error):
    Path("blank.txt").write_text("\n\n")
    Path("binary.txt").write_bytes(bytes(range(256)))
    assert error in mistake("sample", trained["stream"], "--prompt", "the", *arguments)


COMMANDS: dict[str, list[object]] = {
    "sample": ["sample"],
    "show": ["runs", "show"],
    "resume": ["train", "--epochs", 9, "--resume"],
}


@pytest.fixture
def run(trained) -> Path:
    return shutil.copytree(trained["documents"], Path("run"))


@pytest.mark.parametrize("damage", ["missing", "truncated", "altered", "a folder"])
@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("sample", "tokenizer.json"),
        ("sample", "weights.safetensors"),
        ("show", "tokenizer.json"),
        ("show", "history.jsonl"),
        ("resume", "tokenizer.json"),
        ("resume", "a checkpoint"),
    ],
)
def test_a_run_with_a_damaged_file(mistake, run, command, name, damage):
    if name == "a checkpoint":
        name = Artifact.open(run).manifest.last_checkpoint
    file = run / name
    content = file.read_bytes()
    file.unlink()
    if damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "altered":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "a folder":
        file.mkdir()
    said = {"truncated": "was truncated or altered", "altered": "was altered"}.get(damage, "is missing")
    error = mistake(*COMMANDS[command], run)
    assert error.startswith(f"run/{name} ")
    assert said in error


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("path", ["nowhere", "empty", "file.txt"])
def test_a_folder_that_is_not_a_run(mistake, command, path):
    Path("empty").mkdir()
    Path("file.txt").touch()
    assert mistake(*COMMANDS[command], path) == (
        "nowhere does not exist; textgen runs list shows the runs"
        if path == "nowhere"
        else f"{path} is not a run: it has no textgen.json; textgen runs list shows the runs"
    )


def test_a_name_of_two_lines_is_reported_on_one(mistake):
    assert mistake("sample", "no\nwhere").startswith("no where does not exist")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format_version": FORMAT_VERSION + 1}, "install a later textgen-rnn"),
        ({"format": "other"}, "does not describe a textgen run"),
        ({"vocab_size": "many"}, "vocab_size"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_run_of_an_unknown_format(mistake, run, command, changes, said):
    manifest = json.loads((run / "textgen.json").read_text())
    (run / "textgen.json").write_text(json.dumps(manifest | changes))
    error = mistake(*COMMANDS[command], run)
    assert error.startswith("run/textgen.json ")
    assert said in error


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_a_run_with_an_invalid_description(mistake, run, command, content):
    (run / "textgen.json").write_bytes(content)
    assert mistake(*COMMANDS[command], run).startswith("run/textgen.json ")


def test_a_run_of_a_plugin_that_is_gone_says_what_to_install(mistake, run):
    manifest = json.loads((run / "textgen.json").read_text())
    manifest["settings"]["model"]["name"] = "transformer"
    manifest["providers"]["model"] = "acme"
    manifest["versions"]["acme"] = "3.1"
    (run / "textgen.json").write_text(json.dumps(manifest))
    for command in (["sample", run], ["train", "--epochs", 9, "--resume", run]):
        assert mistake(*command).endswith('pip install "acme==3.1"')


def test_a_run_without_weights_says_how_to_resume_it(mistake, run):
    manifest = json.loads((run / "textgen.json").read_text())
    manifest |= {"weights": None, "last_checkpoint": None, "status": "interrupted"}
    (run / "textgen.json").write_text(json.dumps(manifest))
    assert mistake("sample", "run").endswith("resume it with: textgen train --resume run")


def test_a_name_that_two_plugins_claim(mistake, names):
    @hookimpl
    def textgen_register_models(register):
        register("counting", "textgen.testing.counting:CountingModel")

    rival = SimpleNamespace(textgen_register_models=textgen_register_models)
    with registered(rival, name="rival", distribution="acme-models"):
        error = mistake("train", names, "--model", "counting")
    assert error.startswith("model 'counting' is claimed by acme-models 0 and textgen-counting 0; uninstall one")


QUICK = ["--model", "counting", "--epochs", 1, "--set", "corpus.layout=lines", "--batch-size", 4]


@pytest.mark.parametrize("out", ["taken.txt", "taken.txt/run"])
def test_a_file_in_place_of_a_folder(mistake, names, out):
    Path("taken.txt").write_text("mine")
    assert mistake("train", names, *QUICK, "--out", out).startswith("taken.txt")
    assert Path("taken.txt").read_text() == "mine"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here: this needs Linux and root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    "command",
    [
        "train names.txt",
        "sample RUN",
        "export RUN --onnx",
        "export RUN --to web",
        "export RUN --to web --single",
        "plugins new mine --kind sampler",
        pytest.param("tune names.txt", marks=pytest.mark.skipif(not find_spec("optuna"), reason="needs Optuna")),
    ],
)
def test_an_empty_out_is_not_the_working_directory(mistake, trained, names, command):
    words = [trained["documents"] if word == "RUN" else word for word in command.split()]
    assert "out must be a path, not ''" in mistake(*words, "--out", "")


def test_an_option_given_twice(mistake):
    error = mistake("export", "run", "--to", "web", "--single", "--set", "single=maybe")
    assert "--single and --set single=… are the same option; give one of them" in error


def test_a_full_disk(textgen, names, small_disk):
    big = ["--set", "model.smoothing=0.5", "--set", "training.sample_every=0"]
    names.write_text(names.read_text() + "".join(map(chr, range(0x4E00, 0x4E30))) + "\n", encoding="utf-8")
    ended = textgen("train", names, *QUICK, *big, "--out", small_disk / "run")
    assert ended.code == 2
    assert ended.err.splitlines()[-1].startswith(f"textgen: error: {small_disk}/run/checkpoints/step-")
    assert ended.err.splitlines()[-1].endswith(": No space left on device")
    # The files are complete: the run has begun and has no checkpoint yet.
    assert sorted(path.name for path in (small_disk / "run").iterdir()) == [
        "checkpoints",
        "textgen.json",
        "tokenizer.json",
    ]
    assert list((small_disk / "run" / "checkpoints").iterdir()) == []
    Artifact.open(small_disk / "run").verify()


def test_a_disk_that_is_read_only(mistake, names, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    error = mistake("train", names, *QUICK, "--out", small_disk / "run")
    assert error == f"{small_disk} is not writable; choose another --out"


def test_a_disk_that_is_full_at_the_end(textgen, names, monkeypatch):
    replace = os.replace

    def fail(source, target):
        if str(target).endswith("weights.safetensors"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fail)
        ended = textgen("train", names, *QUICK, "--out", "run")
    assert ended.code == 2
    assert ended.err.splitlines()[-1] == "textgen: error: run/weights.safetensors: No space left on device"
    assert list(Path("run").glob(".*")) == []
    assert textgen("sample", "run", "--seed", 1).code == 0
