"""Files of somebody else: pipes, devices, links, and content that no textgen has written."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the files are those of POSIX"),
    pytest.mark.usefixtures("alarm"),
]


LINES = ("--set", "corpus.layout=lines", "--epochs", 1)


@pytest.fixture
def run(textgen, names) -> Path:
    textgen("train", names, "--model", "counting", "--set", "corpus.layout=lines", "--epochs", 1, "--out", "runs/a")
    return Path("runs/a")


def change_checkpoint(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes what the last checkpoint says of itself, and its recorded hash."""
    manifest = json.loads((run / "textgen.json").read_text())
    file = run / manifest["last_checkpoint"]
    with safetensors.safe_open(file, "numpy") as opened:
        about = json.loads(opened.metadata()["checkpoint"])
    change(about)
    content = safetensors.numpy.save(safetensors.numpy.load_file(file), metadata={"checkpoint": json.dumps(about)})
    file.write_bytes(content)
    record = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest["files"][manifest["last_checkpoint"]] = record
    (run / "textgen.json").write_text(json.dumps(manifest))


@pytest.fixture
def half(textgen, names) -> Path:
    """A run that ended within its second epoch, of three batches each."""
    options = ("--model", "counting", "--set", "corpus.layout=lines", "--batch-size", 4, "--epochs", 3)
    done = textgen("train", names, *options, "--max-steps", 4, "--out", "runs/half")
    assert done.code == 0, done.err
    return Path("runs/half")


def test_a_checkpoint_within_an_epoch_is_resumed(textgen, half):
    change_checkpoint(half, lambda about: None)
    done = textgen("train", "--resume", half, "--max-steps", 8)
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    "changes",
    [{"step": 10**12}, {"step": 4}, {"total": 5}, {"total": 10**12}, {"epoch": 10**12}, {"epoch": 0}, {"step": 0}],
    ids=str,
)
def test_a_checkpoint_at_a_position_that_the_run_does_not_have_is_refused(textgen, half, changes):
    change_checkpoint(half, lambda about: about["position"].update(changes))
    error = textgen("train", "--resume", half, "--max-steps", 8).err.splitlines()[-1]
    assert "checkpoint to resume from is damaged: an epoch of this run has 3 batches" in error


@pytest.mark.parametrize(
    "changes",
    [{"nats": -5.0}, {"nats": 1e308}, {"seconds": -1e308}, {"seconds": 1e308}, {"characters": 1e-300}],
    ids=str,
)
def test_a_checkpoint_with_impossible_totals_is_refused(textgen, half, changes):
    change_checkpoint(half, lambda about: about["numbers"]["textgen.epoch"].update(changes))
    done = textgen("train", "--resume", half, "--max-steps", 8)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "checkpoint to resume from is damaged: textgen.epoch has no valid totals" in done.err


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(path))


def link_to_zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


MAKERS = [make_pipe, make_socket, link_to_zeros, Path.mkdir]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("file", ["textgen.json", "tokenizer.json", "weights.safetensors"])
def test_a_run_with_something_else_than_a_file_is_refused_at_once(textgen, run, file, make):
    (run / file).unlink()
    make(run / file)
    error = textgen("sample", run).error
    assert f"runs/a/{file}" in error


@pytest.mark.parametrize("make", MAKERS)
def test_the_list_of_runs_goes_on_after_what_is_no_run(textgen, run, make):
    for name in ("b", "z"):
        Path("runs", name).mkdir()
        make(Path("runs", name, "textgen.json"))
    Path("runs/dangling").mkdir()
    Path("runs/dangling/textgen.json").symlink_to("nowhere")
    make(Path("runs/file"))
    listed = textgen("runs", "list")
    assert listed.code == 0
    assert listed.out.startswith("runs/a ")
    assert len(listed.err.splitlines()) == 2


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("option", ["--prompt-file", "--prompts-file", "--load-state"])
def test_an_option_that_names_something_else_than_a_file_is_refused_at_once(textgen, run, option, make):
    make(Path("x"))
    error = textgen("sample", run, option, "x").error
    assert "x is a" in error or "x cannot be read: Is a directory" in error


@pytest.mark.parametrize("make", MAKERS)
def test_a_configuration_that_is_no_file_is_refused_at_once(textgen, names, make):
    make(Path("x"))
    assert "cannot read the configuration x: it is not a regular file" in textgen("train", names, "--config", "x").error


@pytest.mark.parametrize("make", [make_pipe, make_socket, link_to_zeros])
def test_a_text_that_does_not_come_is_refused(textgen, make):
    make(Path("x.txt"))
    assert "x.txt " in textgen("train", "x.txt", "--model", "counting").error
    assert "x.txt " in textgen("train", "*.txt", "--model", "counting").error


def test_an_endless_text_is_refused():
    program = "import textgen_corpora.text_files.paths as p; p.MOST_BYTES = 10**7; from textgen.cli import main; main()"
    script = f'yes | {sys.executable} -c "{program}" train -'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert "standard input has more than 10,000,000 bytes; save it as a file and train on that" in done.stderr
    assert not list(Path(os.environ["TEXTGEN_CACHE_DIR"]).rglob("*.txt"))


def test_endless_prompts_are_refused():
    site = f"{sys.executable} -m textgen sample runs/a"
    for end in ("--prompt-file -", "--prompts-file /dev/stdin"):
        done = subprocess.run(["bash", "-c", f"yes | {site} {end}"], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "bytes, too many for prompts" in done.stderr


def test_prompts_may_come_through_a_pipe_that_a_shell_opened(textgen, run):
    reading, writing = os.pipe()
    os.write(writing, b"Ad\nBo\n")
    os.close(writing)
    written = textgen("sample", run, "--prompts-file", f"/dev/fd/{reading}", "--seed", 1)
    os.close(reading)
    assert written.code == 0
    assert [line[:2] for line in written.out.splitlines()] == ["Ad", "Bo"]


@pytest.mark.skipif(sys.platform != "linux", reason="the paths are those of Linux")
@pytest.mark.parametrize("before", ["/proc/self/fd/../../..", "/dev/fd/../../.."])
@pytest.mark.parametrize("option", ["--prompts-file", "--prompt-file"])
def test_a_pipe_is_not_waited_for_behind_the_path_of_one_that_a_shell_opened(textgen, run, before, option):
    os.mkfifo("pipe")
    assert "pipe is a pipe, not a file" in textgen("sample", run, option, f"{before}{Path('pipe').absolute()}").error


def test_a_link_that_leaves_the_folder_is_refused(textgen, run):
    shutil.move(run / "weights.safetensors", "elsewhere")
    (run / "weights.safetensors").symlink_to(Path("elsewhere").absolute())
    assert "weights.safetensors is a link that leaves the folder" in textgen("sample", run).error


def test_a_folder_that_is_reached_by_a_link_is_read(textgen, run):
    Path("link").symlink_to(run)
    assert textgen("sample", "link").code == 0


def change(run: Path, *path: Any, to: Any) -> None:
    about = json.loads((run / "textgen.json").read_text())
    inner = about
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    (run / "textgen.json").write_text(json.dumps(about))


def put(run: Path, name: str, content: bytes) -> None:
    """Replaces a file and its record."""
    (run / name).write_bytes(content)
    change(run, "files", name, to={"size": len(content), "sha256": hashlib.sha256(content).hexdigest()})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["vocab_size"], "21", "vocab_size: Input should be a valid integer"),
        (["vocab_size"], True, "vocab_size: Input should be a valid integer"),
        (["vocab_size"], 2**40, "vocab_size: Input should be less than or equal to"),
        (["vocab_size"], 2**31 - 1, "ids, the model 2147483647"),
        (["end_id"], 10**6, "end_id has an id that is not below vocab_size"),
        (["first_ids"], {"99999": 1}, "first_ids or end_id has an id that is not below vocab_size"),
        (["first_ids"], {"01": 1}, "first_ids.01"),
        (["first_ids"], {"1": 0}, "the counts of first_ids or starts are all 0"),
        (["first_ids"], {"1": 1.0}, "first_ids.1: Input should be a valid integer"),
        (["labels"], ["x"] * 2, "labels has a label twice"),
        (["metrics"], {"loss": "1"}, "metrics.loss: Input should be a valid number"),
        (["metrics"], {"loss": True}, "metrics.loss: Input should be a valid number"),
        (["state_spec", 0, "dtype"], "float8_e4m3", "state_spec: dtype"),
        (["state_spec", 0, "shape"], [2**40], "state_spec: shape.0"),
        (["state_spec", 0, "shape"], [3], "vocab_size or state_spec is not that of the weights"),
        (["state_spec", 0, "initial"], "0", "state_spec: initial"),
        (["state_spec", 0, "initial"], 1e300, "state_spec: initial is not a value of the dtype"),
        (["weights"], "../weights.safetensors", "weights: '../weights.safetensors' is not a path within the folder"),
        (["weights"], "/etc/passwd", "weights: '/etc/passwd' is not a path within the folder"),
        (["files", "x"], {"size": "1", "sha256": "0" * 64}, "files.x.size"),
        (["files", "x"], {"size": 1, "sha256": "0"}, "files.x.sha256"),
        (["lineage"], [{"run": 1}], "lineage: run"),
        (["changes"], [{"step": -1, "settings": {}}], "changes: step"),
        (["provenance", "multiline"], 1, "provenance: multiline"),
        (["export"], {"format": "onnx", "precision": "fp8"}, "precision: Input should be"),
        (["export"], {"format": "onnx", "cell": "gru", "units": ["4"]}, "units.0: Input should be"),
        (["settings", "model", "smoothing"], "1", "settings: model.smoothing must be a number, not 1"),
        (["settings", "model", "smoothing"], True, "settings: model.smoothing must be a number, not True"),
        (["settings", "training", "epochs"], "1", "settings: training.epochs must be a whole number, not 1"),
        (["settings", "tokenizer", "min_count"], 1.0, "settings: tokenizer.min_count must be a whole number, not 1.0"),
        (["settings", "generation", "length"], "9", "settings: generation.length must be a whole number, not 9"),
        (["settings", "more"], {}, "does not have the tables"),
    ],
)
def test_a_value_that_no_run_records_is_refused(textgen, run, path, value, message):
    change(run, *path, to=value)
    error = textgen("sample", run).error
    assert "textgen.json" in error or "runs/a: the tokenizer has" in error
    assert message in error


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"vocab_size"', '"vocab_size": 1, "vocab_size"', "the key 'vocab_size' twice"),
        ('"metrics": {', '"metrics": {"x": NaN, ', "the number NaN, which is not finite"),
        ('"metrics": {', '"metrics": {"x": 1e999, ', "the number 1e999, which is not finite"),
        ('"metrics": {', '"metrics": {"x": ' + "[" * 10**5 + "]" * 10**5 + ", ", "nested too deeply"),
        ('"metrics": {', '"metrics": {"x": ' + "9" * 5000 + ", ", "a number of 5,000 digits"),
    ],
)
def test_json_that_is_not_strict_is_refused(textgen, run, old, new, message):
    text = (run / "textgen.json").read_text()
    assert old in text
    (run / "textgen.json").write_text(text.replace(old, new, 1))
    assert message in textgen("sample", run).error


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e30])
def test_weights_that_are_not_finite_are_refused(textgen, run, number):
    weights = safetensors.numpy.load((run / "weights.safetensors").read_bytes())
    weights["counts"][0, 1, 2] = number
    put(run, "weights.safetensors", safetensors.numpy.save(weights))
    assert "the tensor 'counts' has " in textgen("sample", run).error


@pytest.mark.parametrize(
    "content", [b'{"characters": ' + b"[" * 10**6, b'{"characters": ["a"], "characters": ["b"]}', b'"' + b"a" * 10**6]
)
def test_a_vocabulary_that_is_not_strict_is_refused(textgen, run, content):
    put(run, "tokenizer.json", content)
    assert "tokenizer.json" in textgen("sample", run).error


def test_a_vocabulary_with_a_pattern_of_somebody_else_is_refused(textgen, names):
    textgen("train", names, "--model", "counting", "--tokenizer", "words", *LINES, "--out", "run")
    vocabulary = json.loads(Path("run/tokenizer.json").read_text())
    vocabulary["pattern"] = "(a+)+$"  # takes exponential time
    put(Path("run"), "tokenizer.json", json.dumps(vocabulary).encode())
    assert "a pattern of words" in textgen("sample", "run", "--prompt", "a" * 60 + "b").error


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda vocabulary: vocabulary["model"].update(merges=[["a"]]), "not one of byte-bpe"),
        (lambda vocabulary: vocabulary["model"]["vocab"].update(a=-1), "not one of byte-bpe"),
        (lambda vocabulary: vocabulary["model"]["vocab"].update(a="3"), "not one of byte-bpe"),
        (lambda vocabulary: vocabulary.update(pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+$"}}), "not"),
        (lambda vocabulary: vocabulary["model"].update(dropout=0.5), "not one of byte-bpe"),
        (lambda vocabulary: vocabulary.update(padding=3), "not one of byte-bpe"),
    ],
)
def test_a_vocabulary_of_pairs_is_checked_before_the_library_gets_it(textgen, names, damage, message):
    pytest.importorskip("tokenizers")
    options = ["--set", "tokenizer.vocab_size=260", *LINES]
    textgen("train", names, "--model", "counting", "--tokenizer", "byte-bpe", *options, "--out", "run")
    vocabulary = json.loads(Path("run/tokenizer.json").read_text())
    damage(vocabulary)
    put(Path("run"), "tokenizer.json", json.dumps(vocabulary).encode())
    assert message in textgen("sample", "run").error


def _changed_state(arrays: dict[str, np.ndarray], about: dict[str, str], **changes: Any) -> bytes:
    for name, value in changes.items():
        if isinstance(value, str):
            about[name] = value
        else:
            arrays[name] = np.asarray(value)
    return safetensors.numpy.save(arrays, metadata=about)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step": "-1"}, "step is '-1'"),
        ({"step": "01"}, "step is '01'"),
        ({"step": "9" * 30}, "step is '999"),
        ({"seed": str(2**64)}, "seed is '18446744073709551616'"),
        ({"row": "1.0"}, "row is '1.0'"),
        ({"row": ""}, "row is ''"),
        ({"unread": "10"}, "unread is 10, more than the text has characters"),
        ({"seen": np.array([10**6], np.int32)}, "seen has ids that the model does not have"),
        ({"seen": np.array([1], np.int64)}, "seen is not a list of ids"),
        ({"seen": np.array([[1]], np.int32)}, "seen is not a list of ids"),
        ({"last_id": np.array([-1], np.int32)}, "last_id has ids that the model does not have"),
        ({"last_id": np.array([], np.int32)}, "last_id has 0 ids"),
        ({"last_id": np.array([1] * 9, np.int32)}, "last_id has 9 ids"),
        ({"before": np.array([1, 1], np.int32)}, "the state is not of one row"),
        ({"before": np.array([10**6], np.int32)}, "before is not the number of an id"),
        ({"before": np.array([1.0], np.float32)}, "the state does not fit the model"),
        ({"more": np.array([1], np.int32)}, "the state does not fit the model"),
    ],
)
def test_a_state_that_no_text_leaves_is_refused(textgen, run, changes, message):
    textgen("sample", run, "--prompt", "Ad", "--seed", 1, "--save-state", "a.state")
    with safetensors.safe_open("a.state", "numpy") as file:
        about = file.metadata()
    arrays = safetensors.numpy.load(Path("a.state").read_bytes())
    Path("a.state").write_bytes(_changed_state(arrays, about, **changes))
    error = textgen("sample", run, "--load-state", "a.state").error
    assert message in error


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e30])
def test_a_state_of_numbers_that_are_not_finite_is_refused(textgen, number):
    recorded = Path(__file__).parents[1] / "recorded" / "gru-names"
    textgen("sample", recorded, "--runtime", "numpy", "--prompt", "Al", "--seed", 1, "--save-state", "a.state")
    with safetensors.safe_open("a.state", "numpy") as file:
        about = file.metadata()
    arrays = safetensors.numpy.load(Path("a.state").read_bytes())
    arrays["0.h"][0, 1] = number
    Path("a.state").write_bytes(safetensors.numpy.save(arrays, metadata=about))
    error = textgen("sample", recorded, "--runtime", "numpy", "--load-state", "a.state").error
    assert "a.state was altered: the tensor '0.h' has " in error


@pytest.mark.parametrize(
    "line", ['{"epoch": 1}', '{"epoch": true, "step": 1}', '{"epoch": 1, "step": 1, "loss": NaN}', "[]", "[" * 10**5]
)
def test_a_history_that_no_run_writes_is_refused(textgen, run, line):
    (run / "history.jsonl").write_text(line + "\n")
    error = textgen("train", "--resume", run, "--epochs", 2).error
    assert "history.jsonl was altered; restore it from a copy, or delete it to resume without it" in error


@pytest.mark.parametrize("name", ["history.jsonl"])
@pytest.mark.parametrize("make", MAKERS)
def test_a_history_that_is_no_file_is_refused_at_once(textgen, run, name, make):
    (run / name).unlink()
    make(run / name)
    assert f"{name} is a" in textgen("train", "--resume", run, "--epochs", 2).error


@pytest.mark.parametrize(
    "change_about",
    [
        lambda about: about["position"].update(total="9"),
        lambda about: about["position"].update(epoch=-1),
        lambda about: about["position"].update(more=1),
        lambda about: about.update(numbers=[]),
        lambda about: about.update(shared={"counts": "nothing"}),
        lambda about: about["numbers"].pop("nats"),
    ],
)
def test_a_checkpoint_that_no_run_writes_is_refused(textgen, run, change_about: Callable[[Any], object]):
    (path,) = (run / "checkpoints").iterdir()
    with safetensors.safe_open(path, "numpy") as file:
        about = json.loads(file.metadata()["checkpoint"])
    change_about(about)
    tensors = safetensors.numpy.load(path.read_bytes())
    content = safetensors.numpy.save(tensors, metadata={"checkpoint": json.dumps(about)})
    put(run, path.relative_to(run).as_posix(), content)
    resumed = textgen("train", "--resume", run, "--epochs", 2)
    assert resumed.code == 2
    assert "checkpoint" in resumed.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a = " + "[" * 10_000, "nested too deeply"),
        (f"[training]\nseed = {'9' * 5000}", "cannot read the configuration"),
        ("[training]\nseed = 1.0e400", "training.seed must be"),
        ("[training]\nseed = 1\nseed = 1", "cannot read the configuration"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_one_line(textgen, names, content, message):
    Path("c.toml").write_text(content)
    assert message in textgen("train", names, "--model", "counting", "--config", "c.toml").error


def test_the_description_of_a_cluster_is_strict(textgen, names, monkeypatch):
    for text, message in (("[" * 10**5, "nested too deeply"), ('{"task": 1, "task": 2}', "the key 'task' twice")):
        monkeypatch.setenv("TF_CONFIG", text)
        assert message in textgen("train", names, "--model", "counting", *LINES).error


def test_the_options_of_generation_are_validated_when_a_run_is_resumed(textgen, half):
    manifest = json.loads((half / "textgen.json").read_text())
    manifest["settings"]["generation"]["length"] = True
    (half / "textgen.json").write_text(json.dumps(manifest))
    assert (
        "generation.length must be a whole number, not True"
        in textgen("train", "--resume", half, "--max-steps", 8).error
    )
