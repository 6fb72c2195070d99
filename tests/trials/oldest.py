"""Checks that textgen works with the oldest versions that ``pyproject.toml`` promises, or with the newest ones.

Makes an environment of its own, installs this checkout there with exactly the lower bound of every requirement, and
runs each command once on a small text: train, resume, evaluate, export, sample in every runtime. Then it runs the
host ``docs/hosts/write.py`` on the export. It needs a package index, so it is not part of the test suite:

    python tests/trials/oldest.py                        the lower bounds, with this Python
    python tests/trials/oldest.py --newest               the newest versions, as pip chooses them
    python tests/trials/oldest.py --python python3.13    another Python
    python tests/trials/oldest.py --host 1.15.0          docs/hosts/write.py with this version of ONNX Runtime
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
from typing import Any

ROOT = Path(__file__).parents[2]

#: The extras that users install; ``dev`` and ``bench`` are for this repository, ``cuda`` needs a GPU.
EXTRAS = ("train", "bpe", "plots")

#: A text of 432 documents, which trains in a moment.
NAMES = "".join(
    f"{first}{middle}{last}\n"
    for first in ("ara", "belo", "cino", "dora", "elu", "fa", "gri", "hal")
    for middle in ("mi", "no", "pe", "ra", "so", "ta", "vu", "we", "xi")
    for last in ("saur", "don", "ps", "raptor", "ceras", "titan")
)

#: What a trial leaves out of the environment of its commands.
HIDDEN = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "TEXTGEN_RUNS_DIR", "TEXTGEN_PLUGINS"}


def lower_bounds(project: dict[str, Any]) -> list[str]:
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
        bound = re.fullmatch(r"([A-Za-z0-9._-]+)\s*>=\s*([0-9.]+)", wanted.strip())
        if bound is None:
            raise SystemExit(f"{requirement!r} in pyproject.toml is not of the form name>=version")
        pins.append(f"{bound[1]}=={bound[2]}" + (f"; {marker.strip()}" if marker else ""))
    return pins


#: The program that runs an export with ONNX Runtime and NumPy alone.
HOST = ROOT / "docs" / "hosts" / "write.py"


class Trial:
    """An environment in a folder, and the commands that are tried in it.

    Args:
        folder: the folder; an environment that it has is used again.
        python: the interpreter.
    """

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "venv").exists():
            self.run(python, "-m", "venv", self.folder / "venv")
        self.programs = self.folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.programs / "python"

    def run(self, *command: object) -> str:
        """Runs a command, and returns what it prints; ends the trial if it fails."""
        words = [str(word) for word in command]
        print("$", *words, flush=True)
        environment = {name: value for name, value in os.environ.items() if name not in HIDDEN}
        done = subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{done.stdout}{done.stderr}\nfailed with exit code {done.returncode}: {' '.join(words)}")
        return done.stdout

    def install(self, *arguments: object) -> None:
        """Installs packages."""
        self.run(self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)

    def try_commands(self) -> Path:
        """Tries the commands; returns the folder of an export."""
        textgen, run = self.programs / "textgen", self.folder / "run"
        (self.folder / "names.txt").write_text(NAMES, encoding="utf-8")
        small = ("--set", "corpus.layout=lines", "--set", "model.units=32", "--set", "training.sample_every=0")
        self.run(textgen, "train", "names.txt", "--epochs", 2, "--out", run, "--overwrite", *small)
        self.run(textgen, "train", "--resume", run, "--epochs", 3)
        self.run(textgen, "evaluate", run, "--num", 20)
        self.run(textgen, "export", "--onnx", run)
        texts = {
            runtime: self.run(textgen, "sample", run, "--runtime", runtime, "--seed", 3, "--num", 3)
            for runtime in ("keras", "numpy", "onnx")
        }
        if len(set(texts.values())) > 1:
            raise SystemExit(f"the runtimes write different texts: {texts}")
        self.run(textgen, "train", "names.txt", "--tokenizer", "byte-bpe", "--epochs", 1, "--out", f"{run}-bpe", *small)
        self.run(textgen, "export", "--onnx", "--via", "tf2onnx", "--out", "tf2onnx", run)
        self.run(textgen, "doctor")
        return run / "onnx"

    def try_script(self, export: Path, python: Path, expected: str) -> None:
        """Tries :data:`HOST`, which writes the text that ``textgen sample`` writes."""
        written = self.run(python, HOST, export, "ara", 40, 3)
        if written != expected:
            raise SystemExit(f"{HOST.name} writes {written!r}, not {expected!r}")


def main() -> None:
    """Runs a trial in a new folder, or in one that is named."""
    parser = argparse.ArgumentParser(description="Try textgen with the versions that pyproject.toml promises.")
    parser.add_argument("--newest", action="store_true", help="the newest versions instead of the lower bounds")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the environment")
    parser.add_argument(
        "--host", metavar="VERSION", action="append", default=[], help="of ONNX Runtime, for the script"
    )
    parser.add_argument("--folder", type=Path, help="keep the environment here, and use it again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="textgen-trial-") as temporary:
        trial = Trial(arguments.folder or Path(temporary), arguments.python)
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        if not arguments.newest:
            trial.install(*lower_bounds(project))
        trial.install(f"{ROOT}[{','.join(EXTRAS)}]")
        trial.run(trial.python, "-m", "pip", "check")
        export = trial.try_commands()
        chosen = ("--runtime", "onnx", "--prompt", "ara", "--length", 40, "--seed", 3)
        expected = trial.run(trial.programs / "textgen", "sample", export, *chosen)
        trial.try_script(export, trial.python, expected)
        for version in arguments.host:
            host = Trial(trial.folder / f"host-{version}", arguments.python)
            # Versions of ONNX Runtime before 1.19 were built for NumPy 1.
            is_old = tuple(map(int, version.split(".")[:2])) < (1, 19)
            host.install(f"onnxruntime=={version}", "numpy<2" if is_old else "numpy")
            host.try_script(export, host.python, expected)
    print("all commands work")


if __name__ == "__main__":
    main()
