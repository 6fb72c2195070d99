import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# Machines are busy: no test fails for being slow.
settings.register_profile("textgen", deadline=None)
settings.load_profile("textgen")

# Before any test module imports TensorFlow: what it logs on a machine without a GPU would show in captured stderr.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).parent.parent

#: Exit code, output, errors.
Called = tuple[int, str, str]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real corpora: TEXTGEN_DATA_DIR, by default ../shared/data."""
    folder = Path(os.environ.get("TEXTGEN_DATA_DIR") or ROOT.parent / "shared" / "data").resolve()
    if not folder.is_dir():
        pytest.skip(f"the real corpora are not at {folder}; set TEXTGEN_DATA_DIR to the folder that has them")
    return folder


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> "Callable[..., Called]":
    """Runs the command line in this process: its arguments to its exit code, output and errors."""

    def call(*arguments: object) -> Called:
        from textgen.cli import main

        monkeypatch.setattr(sys, "argv", ["textgen", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        sys.stdout.flush()
        return (stop.value.code or 0, *capfd.readouterr())

    return call


class FreshEnvironment:
    """A virtual environment of its own, which sees what the one that runs the tests has installed.

    Args:
        folder: where to make it.
    """

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True)
        self.python = folder / "bin" / "python"
        own = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
        # With addsitedir, so that the editable installs in there are found too.
        (own / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
        self.variables = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "TEXTGEN_PLUGINS", "TEXTGEN_STRICT", "VIRTUAL_ENV")
        }

    def install(self, *packages: Path) -> None:
        """Install packages in editable mode, without a network."""
        editable = [argument for package in packages for argument in ("-e", str(package))]
        arguments = ["--disable-pip-version-check", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
        done = self.run("-m", "pip", "install", *arguments, *editable)
        assert done.returncode == 0, done.stderr

    def run(self, *arguments: str, cwd: Path | None = None, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run its Python; what comes back holds text and the exit code."""
        return subprocess.run(
            [str(self.python), *arguments],
            cwd=cwd,
            env=self.variables | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def textgen(self, *arguments: str, cwd: Path | None = None, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run the command line in it."""
        return self.run("-m", "textgen", *arguments, cwd=cwd, **variables)


@pytest.fixture(scope="session")
def make_environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], FreshEnvironment]:
    """Makes virtual environments: some 5 seconds each."""
    return lambda: FreshEnvironment(tmp_path_factory.mktemp("environment") / "venv")
