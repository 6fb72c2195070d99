"""docs/tutorials/extend.md and docs/plugins.md, run as they are: files are written, commands run, output compared."""

import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from tests.docs.blocks import blocks

DOCS = Path(__file__).parents[2] / "docs"
PAGE = "".join((DOCS / page).read_text(encoding="utf-8") for page in ("tutorials/extend.md", "plugins.md"))
BLOCKS = blocks(PAGE)


@pytest.mark.keras
@pytest.mark.slow
def test_the_page_does_what_it_says(workshop, tmp_path):
    (tmp_path / "docs").mkdir()
    shutil.copytree(DOCS / "examples", tmp_path / "docs" / "examples")
    output = ""
    for block in BLOCKS:
        if block.file:
            (tmp_path / block.file).write_text(block.content, encoding="utf-8")
        elif block.language == "sh":
            shell = ["sh", "-ec", block.content]
            done = subprocess.run(
                shell, cwd=tmp_path, env=workshop.variables, capture_output=True, text=True, check=False
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
        re.findall(r"`(textgen_(?:register_|run_|transform_|batch_|epoch_|checkpoint_|before_|after_)\w+)`", PAGE)
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
