"""The tutorials, run as they are: files are written, commands run, and the output of training compared but for numbers.

tests/docs/test_plugins_md.py runs docs/tutorials/extend.md.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import blocks, variables

ROOT = Path(__file__).parents[2]
TUTORIALS = ROOT / "docs" / "tutorials"
ADDRESS = "http://127.0.0.1:8080"


class Reader:
    """Follows a tutorial in a folder of its own.

    Attributes:
        printed: what each line of shell wrote, on stdout and on stderr.
    """

    def __init__(self, folder: Path, *, is_trained: bool = True) -> None:
        self.folder = folder
        self.printed: dict[str, tuple[str, str]] = {}
        self._variables = variables(folder)
        self._server: subprocess.Popen[str] | None = None
        self._address = ADDRESS
        for file in (TUTORIALS / "dinosaurs.csv", ROOT / "docs" / "hosts" / "write.py"):
            shutil.copy(file, folder)
        if is_trained:
            shutil.copytree(ROOT / "tests" / "recorded" / "gru-names", folder / "runs" / "dinosaurs")

    def follow(self, name: str) -> None:
        """Do what a tutorial says."""
        for block in blocks((TUTORIALS / name).read_text(encoding="utf-8")):
            content = block.content.replace(ADDRESS, self._address)
            if block.file:
                (self.folder / block.file).write_text(content, encoding="utf-8")
            elif block.language == "text":
                compare(block.content, "".join("".join(each) for each in self.printed.values()))
            elif block.language == "sh":
                for line in content.splitlines():
                    self._type(line)
            else:
                assert block.language == "console", "nothing is done with this block"

    def _type(self, line: str) -> None:
        program = line.split(maxsplit=1)[0]
        if shutil.which(program, path=self._variables["PATH"]) is None:
            pytest.skip(f"needs {program}")
        options: dict[str, Any] = {"cwd": self.folder, "env": self._variables, "text": True}
        if line.startswith("textgen serve"):
            command = ["sh", "-ec", f"exec {line} --port 0"]
            self._server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **options)
            assert self._server.stdout is not None
            self._address = self._server.stdout.readline().strip()
            return
        done = subprocess.run(["sh", "-ec", line], capture_output=True, check=False, timeout=300, **options)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        self.printed[line] = done.stdout, done.stderr

    def output(self, line: str) -> str:
        """What a line of the tutorial wrote on stdout."""
        return self.printed[line.replace(ADDRESS, self._address)][0]

    def close(self) -> None:
        if self._server:
            self._server.terminate()
            self._server.wait(60)

    def sample(self, *options: str) -> str:
        """What ``textgen sample`` writes."""
        command = ["textgen", "sample", "dinosaurs", *options]
        done = subprocess.run(command, cwd=self.folder, env=self._variables, capture_output=True, text=True, check=True)
        return done.stdout


def compare(shown: str, printed: str) -> None:
    """Whether lines that a page shows were printed, in that order, whatever the numbers; names are as they come."""
    lines = iter(without_numbers(printed).splitlines())
    for line in without_numbers(shown).splitlines():
        if line != "..." and not line.startswith("    "):
            assert line in lines, line


def without_numbers(text: str) -> str:
    return re.sub(r"\d[\d,.]*(?:e-?\d+)?", "0", text)


@pytest.fixture
def reader(tmp_path):
    reader = Reader(tmp_path)
    yield reader
    reader.close()


@pytest.mark.keras
@pytest.mark.slow
def test_learn(tmp_path):
    reader = Reader(tmp_path, is_trained=False)
    reader.follow("learn.md")
    written = reader.output("textgen sample dinosaurs --num 5 --seed 7 --novelty").split()
    assert len(written) == 5
    assert reader.output("python write_names.py") == reader.sample(
        "--prompt", "Tyra", "--temperature", "0.5", "--seed", "7"
    )


@pytest.mark.slow
def test_embed(reader):
    reader.follow("embed.md")
    first, second, *rest = reader.output("python names.py").splitlines()
    assert f"{first}\n" == reader.sample("--prompt", "Tyra", "--temperature", "0.8", "--seed", "7")
    assert f"{second}\n" == reader.sample("--prompt", "Bra", "--seed", "7")
    assert [line.split()[0] for line in rest] == reader.sample("--num", "3", "--seed", "7").split()
    named = reader.sample("--prompt", "Tyra", "--length", "40", "--seed", "7")
    assert reader.output("python write.py runs/dinosaurs/onnx Tyra 40 7") == named
    assert "Tyra" + "".join(reader.output("node names.mjs").split()) == named.strip()
    assert "<html" in (reader.folder / "dinosaurs.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_serve(reader):
    for needed in ("starlette", "uvicorn", "prometheus_client", "openai"):
        pytest.importorskip(needed)
    reader.follow("serve.md")
    answer = reader.output(f"""curl {ADDRESS}/v1/completions --json '{{"prompt": "Tyra", "seed": 7}}'""")
    (text,) = re.findall(r'"text": ?"(\w*)"', answer)
    assert f"Tyra{text}\n" == reader.sample("--prompt", "Tyra", "--seed", "7")
    assert [line[:4] for line in reader.output("python client.py").splitlines()[:3]] == ["Tyra"] * 3


@pytest.mark.slow
def test_scale(reader):
    reader.follow("scale.md")
    assert len((reader.folder / "names.jsonl").read_text().splitlines()) == 5000
    new = (reader.folder / "new.csv").read_text().splitlines()[1:]
    assert len(set(new)) == len(new) == 500
    continued = reader.output("cat continued.csv").splitlines()
    assert [line.partition(",")[0] for line in continued] == ["row", "0", "1", "2", "3"]
    assert re.fullmatch(r"5000 texts of \d{4} drawn\n", reader.output("python job.py"))


def test_the_commands_of_the_installation_are_those_of_the_readme():
    (commands,) = [block.content for block in blocks((ROOT / "docs" / "install.md").read_text(encoding="utf-8"))]
    assert commands in [block.content for block in blocks((ROOT / "README.md").read_text(encoding="utf-8"))]
