"""``textgen sample --interactive`` and completion, on real terminals."""

import os
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import textgen as library
from tests.conftest import ROOT
from tests.docs.blocks import blocks

pty = pytest.importorskip("pty", reason="terminals of this kind are Unix's")

RECORDED = ROOT / "tests" / "recorded"

#: What a terminal is told about its cursor and modes.
CODES = re.compile(r"\x1b\[[?0-9;]*[a-zA-Z]|\r")


class Session:
    """A program that runs on a terminal of its own.

    Args:
        program: with its arguments.
        environment: of its process.
        out: a file for its stdout; by default it is the terminal.
    """

    def __init__(self, program: list[str], environment: dict[str, str], out: Path | None = None) -> None:
        self.process, self.terminal = pty.fork()
        if not self.process:
            if out is not None:
                os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT), 1)
            os.execvpe(program[0], program, environment)
        self.shown = ""

    def read(self) -> bool:
        try:
            part = os.read(self.terminal, 2**16)
        except OSError:  # Linux's way to say that the program has ended
            return False
        self.shown += CODES.sub("", part.decode(errors="replace"))
        return bool(part)

    def until(self, mark: str) -> str:
        """What is shown until a mark is, and the mark."""
        while mark not in self.shown:
            assert self.read(), self.shown
        before, _, self.shown = self.shown.partition(mark)
        return before + mark

    def type(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    def end(self) -> tuple[int, str]:
        """The exit code, and what was shown at the end."""
        while self.read():
            pass
        os.close(self.terminal)
        status = os.waitpid(self.process, 0)[1]
        self.process = 0
        return os.waitstatus_to_exitcode(status), self.shown

    def ask(self, line: str) -> str:
        """Types a line at the prompt; returns what is then shown up to the next prompt."""
        self.type(line + "\n")
        self.until(f"{line}\n")
        return self.until("\n> ").removesuffix("\n> ")


@pytest.fixture
def open_session(environment, alarm) -> Iterator[Callable[..., Session]]:
    sessions: list[Session] = []

    def call(*arguments: object, out: Path | None = None, program: list[str] | None = None, **more: str) -> Session:
        program = program or [sys.executable, "-m", "textgen", *map(str, arguments)]
        sessions.append(Session(program, environment | {"TERM": "xterm", "COLUMNS": "200"} | more, out))
        return sessions[-1]

    yield call
    for session in sessions:
        if session.process:
            os.kill(session.process, signal.SIGKILL)
            os.waitpid(session.process, 0)


def choices(shown: str) -> list[str]:
    """The tokens that are offered, as they are written."""
    return re.findall(r"(?:^|   )\d+ (.+?) (?:<0\.1|[0-9.]+)%", shown.splitlines()[-1])


def test_a_person_and_the_model_write_together(open_session, tmp_path):
    out = tmp_path / "out.txt"
    session = open_session("sample", RECORDED / "lstm-trees", "--interactive", "--prompt", "the ", "--seed", 7, out=out)
    draft = library.load(RECORDED / "lstm-trees").draft("the ", seed=7)
    shown = session.until("\n> ")
    assert "the \u258f\n" in shown
    offered = draft.choices(9)
    assert choices(shown.removesuffix("\n> ")) == [repr(choice.text) for choice in offered]
    assert f"1 {offered[0].text!r} {offered[0].probability:.1%}" in shown
    assert f"the {offered[1].text}\u258f" in session.ask("2")
    draft.choose(offered[1])
    draft.draw()
    assert f"{draft.text}\u258f" in session.ask("")
    assert f"{draft.text} oak\u258f" in session.ask(" oak")
    draft.append(" oak")
    assert session.ask("99") == "there is no choice 99; to append it as text, type =99"
    assert session.ask("é").endswith("is not in the vocabulary; remove it")  # no option can be given any more
    session.type("ox\x7f\x1b[Dt\n")  # a line is edited: backspace, left
    assert f"{draft.text}to\u258f" in session.until("\n> ")
    assert f"{draft.text}\u258f" in session.ask(":u")
    begun = draft.text
    assert "".join(draft.write(20)) == draft.text.removeprefix(begun)
    assert f"{draft.text}\u258f" in session.ask(":w 20")
    assert re.search(r"(   |\n)30 '", session.ask(":n 30"))
    session.type(":q\n")
    code, rest = session.end()
    assert (code, rest) == (0, ":q\n")
    assert out.read_text() == draft.text + "\n"


def test_the_documentation_shows_a_session(open_session, monkeypatch):
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "sampling.md").read_text().partition("## Together with the model\n")[2]
    session, python = (block.content for block in blocks(page.partition("\n## ")[0]))
    command, _, shown = session.removeprefix("$ ").partition("\n")
    arguments = shlex.split(command)
    assert arguments.pop(0) == "textgen"
    assert open_session(*arguments, COLUMNS="100").until("\n> ") == shown.removesuffix("\n")
    names: dict[str, Any] = {"textgen": library, "RUN": RECORDED / "lstm-trees"}
    exec(python, names)
    assert names["draft"].text == "the eak "


def test_what_cannot_be_seen_is_shown_and_can_be_typed(open_session):
    session = open_session("sample", RECORDED / "lstm-trees", "--interactive", "--prompt", "the oak")
    offered = choices(session.until("\n> ").removesuffix("\n> "))
    assert "' '" in offered or r"'\n'" in offered
    assert "the oak\n\u258f" in session.ask(r"\n")
    assert "the oak\n  \u258f" in session.ask("  ")
    assert session.ask(":u").count("the oak\n\u258f") == 1
    assert session.ask(":u").count("the oak\u258f") == 1
    assert session.ask(":u") == "there is nothing to undo"
    assert ":w [N]" in session.ask(":h")
    assert session.ask(":n  2 ").count("%") == 2
    for line in (":nonsense", ":query", ":undo", ":u 2"):
        assert ":w [N]" in session.ask(line)
    session.type("\x04")  # Ctrl-D
    code, rest = session.end()
    assert code == 0
    assert "the oak\n" in rest
    assert re.search(r"seed \d+; the same text from the same input: --seed \d+", rest)


def test_a_text_can_be_saved_and_its_state_kept(open_session, tmp_path, textgen):
    state, file = tmp_path / "a.state", tmp_path / "a b.txt"
    run = RECORDED / "lstm-trees"
    session = open_session("sample", run, "--interactive", "--prompt", "the oak", "--seed", 3, "--save-state", state)
    session.until("\n> ")
    assert session.ask(":s") == "name a file, as in :s text.txt"
    assert session.ask(f":s {file}") == f"saved as {file}"
    assert file.read_text() == "the oak\n"
    session.ask(" is")
    assert session.ask(f":s {file}") == f"saved as {file}"
    assert file.read_text() == "the oak is\n"
    (tmp_path / "b.txt").write_text("mine")
    assert "exists; choose another" in session.ask(f":s {tmp_path}/b.txt")
    assert "belongs to" in session.ask(f":s {run}/textgen.json")
    assert "there is no folder" in session.ask(f":s {tmp_path}/none/b.txt")
    assert session.ask(":s ~nosuchuser/b.txt").startswith(":s cannot write ~nosuchuser/b.txt: ")
    if Path("/proc").is_dir():  # a folder in which nobody can make files, not even root
        assert session.ask(":s /proc/b.txt").startswith(":s cannot write /proc/b.txt: ")
    session.type(":q\n")
    assert session.end()[0] == 0
    continued = textgen("sample", run, "--load-state", state, "--length", 40).out
    whole = textgen("sample", run, "--prompt", "the oak is", "--length", 40, "--seed", 3).out
    assert "the oak is" + continued == whole


def test_ctrl_c_stops_the_model_and_loses_nothing(open_session, tmp_path):
    """A signal that comes between Python's last look and its wait for keys is seen after the next line: one follows."""
    out = tmp_path / "out.txt"
    session = open_session(
        *("sample", RECORDED / "lstm-trees", "--interactive", "--prompt", "the oak", "--seed", 3), out=out
    )
    session.until("\n> ")
    session.type(":w 100000000\n")
    session.until("\nthe oak")
    while len(session.shown) < 200:
        assert session.read()
    session.type("\x03")
    assert "\u258f\n1 " in session.until("\n> ")
    session.type("\x03:h\n")
    session.until("to end: :q or Ctrl-D")
    assert "the oak\u258f" in session.ask(":u")
    os.kill(session.process, signal.SIGTERM)
    session.type(":h\n")
    assert session.end()[0] == 128 + signal.SIGTERM
    assert out.read_text() == "the oak\n"


@pytest.mark.parametrize("pause", [0, 0.0002, 0.001, 0.003])
def test_ctrl_c_may_come_at_any_moment(open_session, tmp_path, pause):
    """Twice in a row, at the prompt and while the model writes."""
    out = tmp_path / "out.txt"
    session = open_session("sample", RECORDED / "lstm-trees", "--interactive", "--prompt", "the oak", out=out)
    session.until("\n> ")
    for line in (":w 100000000", "s", "s", "s", "s"):
        session.type(f"{line}\n")
        session.until(f"{line}\n")
        for _ in range(20):
            os.kill(session.process, signal.SIGINT)
            time.sleep(pause)
    session.ask(":u")
    session.type(":q\n")
    assert session.end()[0] == 0
    assert out.read_text().startswith("the oak")


def test_nothing_is_written_and_so_there_is_no_state(open_session, tmp_path):
    session = open_session("sample", RECORDED / "gru-names", "--interactive", "--save-state", tmp_path / "a.state")
    session.until("\n> ")
    session.type(":q\n")
    code, shown = session.end()
    assert code == 0
    assert "textgen: no text was written, so --save-state has no state to save" in shown
    assert list(tmp_path.glob("*.state")) == []


def test_the_end_of_a_text_and_labels(open_session, tmp_path):
    library.train(
        text=[f"{start} ö {end}" for start in ("an oak", "an elm") for end in ("stands", "fell")] * 20,
        labels=["tree", "wood"] * 40,
        model="ngram",
        tokenizer="byte-bpe",
        settings={"tokenizer": {"vocab_size": 270}, "training": {"drop_duplicates": False}},
        out=tmp_path / "run",
    )
    session = open_session("sample", tmp_path / "run", "--interactive", "--label", "wood", "--prompt", "an elm ö fell")
    assert "label wood" in session.until("\u258f")
    assert choices(session.until("\n> ").removesuffix("\n> "))[0] == "end"
    assert "The text has ended" in session.ask("1")
    assert session.ask("more") == "the text has ended; undo its end first"
    session.ask(":u")
    assert "part of a character (id " in session.ask(":n 300")
    session.type(":q\n")
    assert session.end()[0] == 0


def test_without_a_terminal_it_is_refused(textgen, open_session, tmp_path):
    error = textgen("sample", RECORDED / "gru-names", "--interactive").error
    assert "--interactive needs a terminal" in error
    for options in (["--json"], ["--temperature", "1", "--temperature", "2"], ["--prompts-file", "-"]):
        session = open_session("sample", RECORDED / "gru-names", "--interactive", *options)
        code, shown = session.end()
        assert code == 2
        assert re.search("exclude each other|writes a single text", shown)


def test_sample_mentions_it_on_a_terminal_alone(open_session, tmp_path):
    _, shown = open_session("sample", RECORDED / "gru-names").end()
    assert shown.endswith("to write together with the model: --interactive\n")
    _, shown = open_session("sample", RECORDED / "gru-names", "--prompt", "A").end()
    assert "--interactive" not in shown
    _, shown = open_session("sample", RECORDED / "gru-names", out=tmp_path / "out.txt").end()
    assert "--interactive" not in shown


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_completion_in_bash(open_session, environment, tmp_path):
    """As a user installs it, and types it."""
    script = tmp_path / "bin" / "textgen"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; sys.argv[0] = \'textgen\'; '
                      'from textgen.cli import main; main()" "$@"\n')  # fmt: skip
    script.chmod(0o755)
    variables = {"HOME": str(tmp_path), "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}", "PS1": "$ "}
    (tmp_path / ".inputrc").write_text("set enable-bracketed-paste off\n")
    assert open_session(program=["textgen", "--install-completion", "bash"], **variables).end()[0] == 0
    session = open_session(program=["bash", "--rcfile", str(tmp_path / ".bashrc"), "-i"], **variables)
    session.type("textgen sam\t--inter\t\n")
    session.until("textgen sample --interactive ")
    session.type("exit\n")
    session.end()
