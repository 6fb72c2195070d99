"""docs/plugins.md, executed: its files are written, its commands run, and their output compared."""

import re
import shlex
import shutil
import subprocess
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "plugins.md").read_text(encoding="utf-8")


class Block(NamedTuple):
    """A fenced block, and the file that it belongs in, if the line before it is `name`:."""

    file: str
    language: str
    content: str


BLOCKS = [Block(*found) for found in re.findall(r"(?:`([\w.]+)`:\n\n)?```(\w*)\n(.*?)```", PAGE, re.DOTALL)]


@pytest.mark.keras
def test_the_page_does_what_it_says(make_environment, tmp_path):
    environment = make_environment()
    folder = environment.python.parent
    for command in ("textgen", "pytest"):  # scripts of this environment, as an installation would create them
        script = folder / command
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(str(environment.python))} -m {command} "$@"\n')
        script.chmod(0o755)
    variables = environment.variables | {
        "PATH": f"{folder}:{environment.variables['PATH']}",
        # for `pip install -e .` without network access
        **{"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"},
    }
    (tmp_path / "docs").mkdir()
    shutil.copytree(DOCS / "examples", tmp_path / "docs" / "examples")

    output = ""
    for block in BLOCKS:
        if block.file:
            (tmp_path / block.file).write_text(block.content, encoding="utf-8")
        elif block.language == "sh":
            done = subprocess.run(
                ["sh", "-ec", block.content], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{block.content}{done.stderr}"
            assert "textgen: plugin" not in done.stderr, done.stderr
            output = done.stdout
        else:
            shown, written = block.content.split(), output.split()
            assert written[-len(shown) :] == shown, block.content
    assert (tmp_path / "epochs.txt").read_text().startswith("runs/curriculum: ")


def test_every_block_is_run():
    assert {block.language for block in BLOCKS} == {"sh", "python", "toml", "text"}
    assert all(bool(block.file) == (block.language in ("python", "toml")) for block in BLOCKS)
    assert len(BLOCKS) == PAGE.count("```") / 2


def test_the_names_on_the_page_exist():
    import textgen.testing
    import textgen.testing.suites
    from textgen.plugins import hookspecs
    from textgen.plugins.registration import KINDS

    assert set(re.findall(r"\b\w+Suite\b", PAGE)) == set(textgen.testing.suites.__all__)
    assert {name for name in vars(hookspecs) if name.startswith("textgen_")} == set(
        re.findall(r"`(textgen_(?:register_|transform_|batch_|epoch_|checkpoint_|before_|after_)\w+)`", PAGE)
    )
    rows = re.findall(r"^\| (\w+) \| `(textgen_register_\w+)` \|", PAGE, re.MULTILINE)
    assert dict(rows) == KINDS
    named = re.findall(r"`(textgen[\w.]*)\.([A-Z]\w+)`", PAGE)
    assert {module for module, _ in named} == {"textgen", "textgen.errors", "textgen.options", "textgen_keras"}
    for module, name in named:
        public = import_module(module)
        assert name in getattr(public, "__all__", vars(public)), (module, name)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]*)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target
