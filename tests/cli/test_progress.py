"""The progress of a run on stderr."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from textgen.model.fitting import Position, TrainingOptions
from textgen.runs.artifact import Artifact
from textgen.training import display

pty = pytest.importorskip("pty", reason="terminals of this kind are Unix's")

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"

#: Presses Ctrl-C twice: to stop after the batch, then at once.
STOPS_TWICE = """
import os, signal
from textgen import hookimpl

@hookimpl
def textgen_batch_ended(position):
    if position.total == 5:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.fixture
def on_terminal(environment):
    """Runs a command with stderr on a terminal; returns its exit code, stdout, and the terminal's content."""

    def call(*arguments: object) -> tuple[int, str, str]:
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "textgen", *map(str, arguments)],
            env=environment | {"TERM": "xterm", "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            shown = b""
            while part := read(ours):
                shown += part
            assert process.stdout is not None
            out = process.stdout.read()
        os.close(ours)
        return process.returncode, out.decode(), shown.decode()

    return call


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # on Linux: the other side is closed
        return b""


TRAIN = ["--model", "counting", "--epochs", 2, "--batch-size", 4, "--set", "corpus.layout=lines"]


def test_a_terminal_shows_a_bar_that_is_removed_at_the_end(on_terminal, names):
    code, out, shown = on_terminal("train", names, *TRAIN, "--out", "run")
    assert (code, out) == (0, "run\n")
    assert "━" in shown
    assert "characters/s" in shown
    assert "epoch 2/2: loss " in shown
    assert shown.rindex(SHOW) > shown.rindex(HIDE)
    # The last line has replaced the bar.
    assert "━" not in shown[shown.rindex(SHOW) :]
    assert shown.rstrip().endswith("textgen sample run")


def test_the_terminal_is_restored_however_training_ends(on_terminal, install, names):
    install("stops", STOPS_TWICE)
    code, out, shown = on_terminal("train", names, *TRAIN, "--out", "run")
    assert (code, out) == (130, "")
    assert "Traceback" not in shown
    assert shown.rindex(SHOW) > shown.rindex(HIDE)
    Artifact.open(names.parent / "run").verify()


def test_a_long_epoch_prints_a_line_from_time_to_time(textgen, names, monkeypatch):
    monkeypatch.setattr(display, "LINE_EVERY", 0.0)
    said = textgen("train", names, *TRAIN, "--out", "run").err.splitlines()
    lines = [line for line in said if ", batch " in line]
    assert [line.split(":")[0] for line in lines] == [
        f"epoch {epoch}/2, batch {batch}/3" for epoch in (1, 2) for batch in (1, 2, 3)
    ]
    # The first batch does not predict the time of the others.
    assert [line.endswith(" left") for line in lines] == [False] + [True] * 5


@pytest.mark.parametrize(("max_steps", "left"), [(None, "0:04:00"), (30, "0:00:40")])
def test_a_line_has_the_learning_rate_and_the_time_left(monkeypatch, capsys, max_steps, left):
    training = TrainingOptions(epochs=11, max_steps=max_steps)
    plan: Any = SimpleNamespace(
        refit=None,
        dataset=SimpleNamespace(train=SimpleNamespace(steps=10), has_long_tokens=False),
        training=training,
        text=SimpleNamespace(corpus_name="verse", describe=lambda **about: "5,678 characters"),
        model=SimpleNamespace(parameter_count=1234),
        model_name="gru",
        tokenizer=SimpleNamespace(vocab_size=9),
        base=None,
        new_tokens=[],
        new_labels=[],
    )
    now = 1000.0
    monkeypatch.setattr("textgen.training.display.time.monotonic", lambda: now)
    lines = display.LineDisplay()
    lines.started(plan, Path("run"), Position(0, 5, 5))
    header, second = capsys.readouterr().err.splitlines()
    assert header == "gru with 1,234 parameters on verse: 5,678 characters, vocabulary 9"
    limit = ", at most 30 in all" if max_steps else ""
    assert second == f"11 epochs of 10 batches{limit}, into run, resumed after batch 5"
    now += 99  # for TensorFlow and the first batch, which do not count
    lines.batch(Position(0, 6, 6), 2.0, 100.0, 0.002)
    now += 8 * 2.5
    lines.batch(Position(1, 4, 14), 1.5, 4321.4, 0.001234)
    expected = f"epoch 2/11, batch 4/10: loss 1.500, learning rate 0.0012, 4,321 characters/s, {left} left\n"
    assert capsys.readouterr().err.endswith(expected)


def test_an_epoch_has_its_losses_and_samples(textgen, names):
    said = textgen("train", names, *TRAIN, "--set", "generation.prompt=Ad", "--out", "run").err
    record = Artifact.open(names.parent / "run").manifest.metrics
    assert f"loss {record['loss']:.3f} nats ({record['bits']:.3f} bits) per character" in said
    assert f"held out {record['held_out_loss']:.3f} nats ({record['held_out_bits']:.3f} bits) per character" in said
    assert said.count("\n    Ad") == 2 * 5
