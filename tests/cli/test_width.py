"""What commands print fits the terminal: no line is longer than it, none is broken inside a word."""

import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import read_all

pty = pytest.importorskip("pty", reason="terminals of this kind are Unix's")
fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")

RECORDED = Path(__file__).parents[1] / "recorded" / "gru-names"

COMMANDS = [
    "--help",
    "train --help",
    "sample --help",
    "options --help",
    "options",
    "runs list",
    "runs show",
    "corpora list",
    "corpora info dinos-lite",
    "plugins list",
    "plugins show gru",
    "evaluate --help",
    "export --onnx recorded --out export",
]


@pytest.fixture
def on_terminal(environment):
    """Runs a command on a terminal of so many columns; returns its exit code, and the terminal's lines."""

    def call(columns: int, *arguments: object) -> tuple[int, list[str]]:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        variables = {name: value for name, value in environment.items() if name != "COLUMNS"} | {"TERM": "xterm"}
        command = [sys.executable, "-m", "textgen", *map(str, arguments)]
        with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=variables) as process:
            os.close(theirs)
            content = read_all(ours)
        lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", content))
        return process.returncode, lines

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_80_columns_are_enough(on_terminal, textgen, names, command):
    textgen("train", names, "--model", "counting", "--set", "corpus.layout=lines", "--set", "training.epochs=1")
    Path("recorded").symlink_to(RECORDED)
    code, lines = on_terminal(80, *command.split())
    assert code == 0
    assert [line for line in lines if len(line) > 80 and " " in line.strip()] == []  # but for a long path alone


@pytest.mark.parametrize("command", ["train --help", "options training", "plugins list", "corpora info dinos-lite"])
def test_40_columns_do_not_fail(on_terminal, command):
    code, lines = on_terminal(40, *command.split())
    assert code == 0
    assert len(lines) > 5


def test_words_stay_whole(on_terminal, textgen):
    flat = textgen("options").out
    code, lines = on_terminal(80, "options")
    assert code == 0
    assert " ".join(lines).split() == flat.split()


@pytest.mark.keras
@pytest.mark.slow
@pytest.mark.parametrize(("columns", "figures"), [(80, "left"), (40, "loss")])
def test_the_progress_bar_is_there(on_terminal, tmp_path, columns, figures):
    (tmp_path / "here" / "a.txt").write_text("the quick brown fox jumps over the lazy dog\n" * 400)
    small = ("--set", "model.units=8", "--set", "training.sample_every=0", "--epochs", 2)
    code, lines = on_terminal(columns, "train", "a.txt", *small)
    assert code == 0
    bars = [line for line in lines if re.search(r"epoch \d/2 .*\d+/\d+", line)]
    assert bars
    # Where the bar has got to, which depends on when it is drawn, half a cell is another character.
    assert all(re.search("[━╸╺]{10}", line) and len(line) <= columns for line in bars)
    assert any(figures in line for line in bars)


def test_train_and_export_print_their_folder_on_stdout(textgen, names):
    quick = ("--model", "counting", "--set", "corpus.layout=lines", "--epochs", 2)
    assert textgen("train", names, *quick, "--out", "my run").out == "my run\n"
    report = json.loads(textgen("train", "--resume", "my run", "--epochs", 3, "--json").out)
    assert (report["run"], report["status"], report["metrics"]["epoch"]) == ("my run", "finished", 3)
    done = textgen("train", names, *quick)
    assert textgen("sample", done.out.strip(), "--seed", 1).code == 0
