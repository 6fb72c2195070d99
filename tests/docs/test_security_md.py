"""SECURITY.md: its parts are there, its links lead somewhere, and what it tells users to type exists."""

import re
from pathlib import Path

import pytest

import textgen
from textgen.testing import counting, registered

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "SECURITY.md"


def section(title: str) -> str:
    found: str
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return found


@pytest.mark.parametrize("title", ["What is checked", "What is not checked", "Runs of strangers", "How to report"])
def test_each_part_is_there(title):
    assert len(section(title).split()) > 40


def test_every_link_leads_somewhere():
    for page in (PAGE, ROOT / "README.md"):
        links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8"))
        for target, heading in links:
            path = ROOT / target if target else page
            assert path.exists(), target
            if heading:
                titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
                assert heading in [re.sub(r"[^\w -]", "", title).replace(" ", "-").lower() for title in titles]
    assert "SECURITY.md" in [target for target, _ in links]


def test_the_commands_work(command_line, tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTGEN_RUNS_DIR", str(tmp_path))
    with registered(counting):
        textgen.train(text="abcab" * 30, model="counting", out=tmp_path / "RUN")
        commands = re.findall(r"`(?:TEXTGEN_PLUGINS= )?textgen ([a-z].*?)`", PAGE.read_text(encoding="utf-8"))
        commands.remove("serve")  # it does not end by itself
        for command in commands:
            code, _, error = command_line(*command.split())
            assert code in (0, 1), error  # 1: doctor, on a machine where something is broken
