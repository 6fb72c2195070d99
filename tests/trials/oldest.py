"""Checks that textgen works with the oldest versions that ``pyproject.toml`` promises, or with the newest ones.

Makes an environment of its own, installs this checkout there with exactly the lower bound of every requirement, and
runs each command once on a small text: train, resume, export, sample in every runtime, evaluate. Then it runs the
script of ``docs/onnx.md``, which needs no textgen. Needs a package index, so it is not part of the test suite:

    python tests/trials/oldest.py                        the lower bounds, with this Python
    python tests/trials/oldest.py --newest               the newest versions, as pip chooses them
    python tests/trials/oldest.py --python python3.13    another Python
    python tests/trials/oldest.py --host 1.15.0          only the script, with this ONNX Runtime
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: The extras that users install; ``dev`` and ``bench`` are for this repository, ``cuda`` needs a GPU.
EXTRAS = ("train", "bpe", "plots")

NAMES = "".join(f"{first}{last}\n" for first in ("ara", "belo", "cino", "dora", "elu", "fa") for last in ("saur", "don"))


def lower_bounds(project: dict) -> list[str]:
    """Every requirement as a pin of its lower bound, with its marker.

    Raises:
        SystemExit: if one has no lower bound.
    """
    requirements = [*project["dependencies"]]
    for extra in EXTRAS:
        requirements += project["optional-dependencies"][extra]
    pins = []
    for requirement in requirements:
        wanted, _, marker = requirement.partition(";")
        bound = re.fullmatch(r"\s*([A-Za-z0-9._-]+)(?:\[[^]]*])?\s*>=\s*([0-9.]+)\s*", wanted)
        if bound is None:
            raise SystemExit(f"{requirement!r} in pyproject.toml has no lower bound of the form name>=version")
        pins.append(f"{bound[1]}=={bound[2]}" + (f";{marker}" if marker else ""))
    return pins


def host_script() -> str:
    """The Python script of ``docs/onnx.md`` that runs an export without textgen."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "onnx.md").read_text(encoding="utf-8"), re.S)
    return next(block for block in blocks if "onnxruntime" in block and "textgen" not in re.sub(r"textgen\.json", "", block))


class Trial:
    """An environment in a folder, and the commands that are tried in it."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder, self.bin = folder, folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self.run(python, "-m", "venv", folder / "venv")

    def run(self, *command: object, cwd: Path | None = None) -> str:
        """Runs a command, prints it, and returns its stdout; ends the trial if it fails."""
        words = [str(word) for word in command]
        print("$", *words, flush=True)
        hidden = {"PYTHONPATH", "VIRTUAL_ENV", "TEXTGEN_RUNS", "TEXTGEN_PLUGINS"}
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        done = subprocess.run(words, cwd=cwd or self.folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{done.stdout}{done.stderr}\nfailed with exit code {done.returncode}: {' '.join(words)}")
        return done.stdout

    def pip(self, *arguments: object) -> None:
        """Installs packages."""
        self.run(self.bin / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *arguments)

    def textgen(self, *arguments: object) -> str:
        """Runs a command of textgen."""
        return self.run(self.bin / "textgen", *arguments)
