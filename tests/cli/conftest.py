import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from textgen.api import train
from textgen.files.writing import write_atomically
from textgen.testing import counting, registered

NAMES = ["Ada", "Adam", "Beatrix", "Bo", "Dora", "Dorian", "Ed", "Eda", "Max", "Mia", "Tom", "Tomas"]

#: Settings of a run that trains within milliseconds.
QUICK: dict[str, dict[str, Any]] = {
    "corpus": {"layout": "lines"},
    "training": {"epochs": 3, "batch_size": 4, "held_out": 0.25, "sample_every": 0},
    "generation": {"length": 12},
}


@dataclass(frozen=True)
class Outcome:
    """The outcome of a command."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that reports a user's mistake."""
        assert (self.code, self.out) == (2, "")
        prefix, error = self.err.split("textgen: error: ")
        assert (prefix, error.count("\n"), error[-1]) == ("", 1, "\n")
        return error.rstrip("\n")


Command = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Every test has an empty working directory, and an environment without settings."""
    for name in [name for name in os.environ if name.startswith("TEXTGEN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    # Importing matplotlib takes a second; the runs of the fixture ``trained`` have real plots.
    monkeypatch.setattr("textgen.training.plot.save_training_plot", lambda history, path: write_atomically(path, b""))


@pytest.fixture
def textgen(command_line) -> Iterator[Command]:
    """Runs the command line in this process, with the counting model: ``textgen("sample", run, "--num", 3)``."""

    def call(*arguments: object) -> Outcome:
        return Outcome(*command_line(*arguments))

    with registered(counting, name="counting", distribution="textgen-counting"):
        yield call


def _install(folder: Path, distribution: str, module: str, version: str = "1.0") -> None:
    info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[textgen]\n{distribution} = {module}\n")


@pytest.fixture(scope="session")
def counting_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an installed distribution that provides the counting model."""
    folder = tmp_path_factory.mktemp("site")
    _install(folder, "textgen-counting", "textgen.testing.counting", version="0")  # as ``registered`` has it
    return folder


@pytest.fixture
def install(tmp_path) -> Callable[[str, str], None]:
    """Installs a plugin for the processes of this test, as a distribution: ``install("shout", source)``."""

    def install(name: str, source: str) -> None:
        folder = tmp_path / "site"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
        _install(folder, name, name)

    return install


@pytest.fixture
def environment(tmp_path, counting_site) -> dict[str, str]:
    """The environment of a process with the counting model and the test's plugins; it buffers its output."""
    folders = [str(tmp_path / "site"), str(counting_site), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, folders)), "PYTHONUNBUFFERED": ""}


@pytest.fixture
def process(environment) -> Command:
    """Runs the command line in its own process; keywords are environment variables."""

    def call(*arguments: object, **changes: str) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "textgen", *map(str, arguments)],
            env=environment | changes,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def names() -> Path:
    """A file with one name per line."""
    path = Path("names.txt")
    path.write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def verse() -> Path:
    """A file of one long text."""
    path = Path("verse.txt")
    path.write_text("the cat sat on the mat\nand that was that\n" * 20, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> dict[str, Path]:
    """Runs of the counting model that tests do not change: ``documents`` (names) and ``stream``."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    (folder / "verse.txt").write_text("the cat sat on the mat\nand that was that\n" * 20, encoding="utf-8")
    stream = {"training": {**QUICK["training"], "length": 20}, "generation": {"length": 60}}
    with registered(counting, name="counting", distribution="textgen-counting"):
        train(folder / "names.txt", "counting", settings=QUICK, out=folder / "documents")
        train(folder / "verse.txt", "counting", settings=stream, out=folder / "stream")
    return {"documents": folder / "documents", "stream": folder / "stream"}


@pytest.fixture
def alarm() -> Iterator[None]:
    """Ends a test that waits for ever."""

    def ring(number: int, frame: object) -> None:
        raise AssertionError("waited for 100 seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(100)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
