"""docs/web.md: its commands write what it says, and its program runs in Node."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import textgen

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "web.md").read_text(encoding="utf-8")
RUN = ROOT / "tests" / "recorded" / "lstm-trees"

COMMANDS = re.findall(r"^textgen (.*)$", PAGE, re.MULTILINE)


@pytest.fixture
def written(command_line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        code, _, err = command_line(*shlex.split(command.replace("RUN", str(RUN))))
        assert code == 0, err
    return tmp_path


def test_the_commands(written):
    assert {path.name for path in written.iterdir()} == {"page.html", "site"}
    files = re.findall(r"^\| (`[^|]*`) \|", PAGE.partition("| file | |")[2].partition("## ")[0], re.MULTILINE)
    named = {name.rstrip("/") for cell in files for name in re.findall("`([^`]*)`", cell)}
    assert named == {path.name for path in (written / "site").iterdir()}


def test_the_program(written):
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs Node 18 or later")
    (program,) = re.findall(r"^```js\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (written / "program.mjs").write_text(program.replace("console.log(piece)", "process.stdout.write(piece)"))
    done = subprocess.run([node, "program.mjs"], cwd=written, capture_output=True, text=True, check=True)
    generator = textgen.load(RUN, runtime="numpy")
    (expected,) = generator.sample(generator.request("the ", length=400, temperature=0.8, seed=7))
    assert done.stdout == expected.text
