"""``textgen train --engine``: an engine is given the command without what is about it."""

import json
import sys
from pathlib import Path

import pytest

ENGINE = """
import json
import sys
from pathlib import Path

from textgen import Engine, hookimpl
from textgen.options import Options


class RecordingOptions(Options):
    level: int = 1


class Recording(Engine):
    Options = RecordingOptions

    def map(self, work, chunks):
        yield from map(work, chunks)

    def train(self, arguments, stdout):
        print("noise")
        print("the run", file=stdout)
        Path("seen.json").write_text(json.dumps([self.workers, self.options.level, list(arguments)]))
        return 3


@hookimpl
def textgen_register_engines(register):
    register("recording", "recording:Recording", "Records what it is given.")
"""


@pytest.fixture
def train(command_line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "recording.py").write_text(ENGINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "recording", None)  # it is imported anew, and forgotten afterwards
    del sys.modules["recording"]
    return lambda *arguments: command_line("train", *arguments, "--plugin", "recording.py")


def test_the_workers_get_the_command_without_the_engine(train, tmp_path: Path) -> None:
    code, printed, _ = train(
        *("my.txt", "--set", "model.units=8", "--engine", "recording", "--set", "engine.level=7", "--workers=3"),
        *("--out", "run", "--set=engine.level=9", "--set=training.epochs=2", "--overwrite"),
    )
    assert (code, printed) == (3, "the run\n")  # the exit code is that of the engine
    kept = ["my.txt", "--set", "model.units=8", "--out", "run", "--set=training.epochs=2", "--overwrite"]
    assert json.loads((tmp_path / "seen.json").read_text()) == [3, 9, ["train", *kept, "--plugin", "recording.py"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--engine", "recording"), "--engine and --workers belong together"),
        (("--workers", "2"), "--engine and --workers belong together"),
        (("--set", "engine.level=2"), "--engine and --workers belong together"),
        (("--engine", "recording", "--workers", "2", "--set", "engine.levle=2"), "engine has no option 'levle'"),
        (("--engine", "nowhere", "--workers", "2"), "unknown engine 'nowhere'"),
        (("--engine", "local", "--workers", "2"), "this engine writes texts, and does not train"),
        (("--engine", "recording", "--workers", "2", "--dry-run"), "--dry-run trains nothing"),
    ],
)
def test_a_mistake_is_one_line(train, tmp_path: Path, arguments, message: str) -> None:
    code, printed, told = train("my.txt", *arguments)
    assert (code, printed) == (2, "")
    assert message in told
    assert not (tmp_path / "seen.json").exists()


def test_two_lists_of_workers_are_refused(train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", "{}")
    code, _, told = train("my.txt", "--engine", "recording", "--workers", "2")
    assert code == 2
    assert "TF_CONFIG lists the workers already" in told
