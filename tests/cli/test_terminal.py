"""What a terminal acts on is shown there instead, whoever wrote it; files and pipes get it as it is."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes import read_all
from textgen.api import train
from textgen.testing import counting, registered

pty = pytest.importorskip("pty", reason="terminals of this kind are Unix's")

#: Sets the title, clears the screen, hides the text, rings, reverses; 8-bit CSI; and what must stay: a tab, letters.
EVIL = "a\x1b]0;owned\x07\x1b[2J\x08\x7f\x9b8m\u202eb\u2066c\r\té"
SHOWN = r"a\x1b]0;owned\x07\x1b[2J\x08\x7f\x9b8m\u202eb\u2066c"

#: What a terminal would act on, besides the colours and the cursor of progress bars and tables.
ACTING = {
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
}

#: The colours of tables and bars, and how a bar is drawn again: the cursor hidden or shown, its line deleted.
OWN = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\r?\x1b\[(2K|1A)")

PLUGIN = f"""
from textgen import hookimpl

@hookimpl
def textgen_register(register):
    register("evil\\x1b[2J", "nowhere:nothing", {EVIL!r})
"""


@pytest.fixture
def run(environment):
    """Runs a command with stdout, stderr or both on a terminal; returns its exit code and both."""

    def call(*arguments: object, out: bool = True, err: bool = True) -> tuple[int, str, str]:
        ends = {name: pty.openpty() if on else os.pipe()[::1] for name, on in (("out", out), ("err", err))}
        write = {name: pair[1] for name, pair in ends.items()}
        with subprocess.Popen(
            [sys.executable, "-m", "textgen", *map(str, arguments)],
            env=environment | {"TERM": "xterm", "COLUMNS": "200"},
            stdout=write["out"],
            stderr=write["err"],
        ) as process:
            for end in write.values():
                os.close(end)
            shown = {name: read_all(pair[0]) for name, pair in ends.items()}
        return process.returncode, shown["out"], shown["err"]

    return call


def acting(shown: str) -> set[str]:
    return ACTING.intersection(shown) - {"\n", "\t"}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("evil")
    path = folder / "names.txt"
    lines = (f"x{EVIL.replace(chr(13), '')}{end}\n" for end in "abcdefghijklmnopqrst")
    path.write_text("".join(lines), encoding="utf-8")
    settings: dict[str, dict[str, Any]] = {
        "corpus": {"layout": "lines"},
        "training": {"batch_size": 4},
        "generation": {"length": 40},
    }
    with registered(counting, name="counting", distribution="textgen-counting"):
        train(path, "counting", settings=settings, out=folder / "run\x1b[2J")
    return folder / "run\x1b[2J"


@pytest.mark.parametrize("options", [(), ("--stream",)])
def test_texts_are_visible_on_a_terminal_and_raw_in_a_pipe(run, model, options):
    arguments = ("sample", model, "--prompt", "a\x1b]0;owned\x07", "--seed", 1, *options)
    code, out, err = run(*arguments)
    assert (code, acting(out), acting(err)) == (0, set(), set())
    assert r"a\x1b]0;owned\x07" in out
    _, raw, err = run(*arguments, out=False)
    assert raw.startswith("a\x1b]0;owned\x07")
    assert acting(err) == set()
    _, raw_too, _ = run(*arguments, out=False, err=False)
    assert raw_too == raw
    _, seen, _ = run(*arguments, err=False)
    assert seen == out


def test_names_of_runs_labels_and_plugins_are_visible(run, model, install):
    install("evil", PLUGIN)
    manifest = model / "textgen.json"
    content = json.loads(manifest.read_text())
    content["versions"][EVIL] = EVIL
    manifest.write_text(json.dumps(content))
    for arguments in (
        ("runs", "list"),
        ("runs", "show", model),
        ("plugins", "list"),
        ("plugins", "doctor"),
        ("doctor",),
        ("corpora", "list"),
        ("corpora", "info", model.parent / "names.txt"),
        ("evaluate", model),
        ("sample", EVIL),
        ("nonsense\x1b[2J",),
        ("sample", "--help"),
    ):
        _, out, err = run(*arguments)
        assert (acting(OWN.sub("", out)), acting(OWN.sub("", err))) == (set(), set()), arguments
    _, out, _ = run("runs", "show", model)
    assert SHOWN in out
    _, out, _ = run("runs", "show", model, out=False)
    assert EVIL[:20] in out


def test_the_lines_above_a_progress_bar_are_visible(run, model, tmp_path):
    arguments = ("train", model.parent / "names.txt", "--model", "counting", "--set", "corpus.layout=lines")
    _, _, err = run(*arguments, "--out", tmp_path / "again\x1b[2J", "--set", "training.epochs=2")
    assert "\x1b[?25l" in err  # the bar hides the cursor
    assert "\x1b[2J" not in err.replace("\x1b[2K", "")
    assert "\x1b]0" not in err
    assert r"again\x1b[2J" in err
