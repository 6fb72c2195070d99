import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

import pytest
from hypothesis import settings

# No test fails because the machine is busy.
settings.register_profile("textgen", deadline=None)
settings.load_profile("textgen")

# Before any test module imports TensorFlow, whose log on a machine without a GPU would be in the captured stderr.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# A job in the background of a script ignores Ctrl-C, one under nohup SIGHUP, and so would the commands that tests stop.
for name in ("SIGINT", "SIGTERM", "SIGHUP"):
    if (number := getattr(signal, name, None)) is not None and signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)

ROOT = Path(__file__).parent.parent

#: Exit code, output, errors.
Called = tuple[int, str, str]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The real corpora: TEXTGEN_DATA_DIR, by default ../shared/data."""
    folder = Path(os.environ.get("TEXTGEN_DATA_DIR") or ROOT.parent / "shared" / "data").resolve()
    if not folder.is_dir():
        pytest.skip(f"the real corpora are not in {folder}; set TEXTGEN_DATA_DIR to their folder")
    return folder


@contextmanager
def kept_process() -> Iterator[None]:
    """Undoes what the command line changes for the rest of its process."""
    from textgen.base import streams
    from textgen.plugins import registry

    registry.plugins()  # loaded once for all tests: those that a command loads are forgotten
    own = ((sys, "stdout"), (sys, "stderr"), (streams, "_own"), (os, "_exit"), (registry, "_registry"))
    with pytest.MonkeyPatch.context() as process:
        for owner, name in own:
            process.setattr(owner, name, getattr(owner, name))
        yield


@pytest.fixture(autouse=True)
def process_of_a_test() -> Iterator[None]:
    """Tests may call the command line as a function."""
    with kept_process():
        yield


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> "Callable[..., Called]":
    """Runs the command line in this process; returns its exit code, output and errors."""

    def call(*arguments: object) -> Called:
        from textgen.cli import main

        monkeypatch.setattr(sys, "argv", ["textgen", *map(str, arguments)])
        with kept_process(), pytest.raises(SystemExit) as stop:
            main()
        sys.stdout.flush()
        code = stop.value.code or 0
        assert isinstance(code, int)
        return (code, *capfd.readouterr())

    return call


class Workshop:
    """A virtual environment with all packages that tests install, and the folder that they were written to.

    The environment sees what the one that runs the tests has installed. The packages are one of each kind, as
    ``textgen plugins new`` writes them, and the examples of the documentation.

    Args:
        folder: an empty folder.
    """

    #: The package of each kind that is written.
    names: ClassVar = {
        "corpus": "birds",
        "tokenizer": "frequent-words",
        "model": "bigram",
        "sampler": "cutoff",
        "exporter": "json-file",
        "runtime": "in-slices",
        "life-cycle": "run-lines",
    }

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        environment = folder / "venv"
        venv.create(environment)
        self.python = environment / "bin" / "python"
        own = Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))
        # With addsitedir, so that the editable installs in there are found too.
        (own / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
        for command in ("textgen", "pytest", "pip"):
            script = self.python.with_name(command)
            script.write_text(f'#!/bin/sh\nexec {shlex.quote(str(self.python))} -m {command} "$@"\n')
            script.chmod(0o755)
        unwanted = ("TEXTGEN_PLUGINS", "TEXTGEN_STRICT", "VIRTUAL_ENV")
        self.variables = {name: value for name, value in os.environ.items() if name not in unwanted}
        self.variables |= {
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}",
            # pip install -e . without a network
            **{"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"},
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        self.blocked = folder / "blocked"
        self.blocked.mkdir()
        for library in ("tensorflow", "keras", "numba"):
            (self.blocked / f"{library}.py").write_text("raise ImportError('this environment has no such library')\n")
        self._install()

    def _install(self) -> None:
        for kind, name in self.names.items():
            written = self.textgen("plugins", "new", name, "--kind", kind)
            assert (written.returncode, written.stdout) == (0, ""), written.stderr
            assert f"cd textgen-{name} && pip install -e" in written.stderr
        # A copy: setuptools writes into the tree that it installs.
        shutil.copytree(ROOT / "docs" / "examples" / "textgen-mingru", self.package("mingru"))
        packages = [self.package(name) for name in (*self.names.values(), "mingru")]
        editable = [argument for package in packages for argument in ("-e", str(package))]
        installed = self.run("-m", "pip", "install", "--quiet", *editable)
        assert installed.returncode == 0, installed.stderr

    def package(self, name: str) -> Path:
        """The folder of a package."""
        return self.folder / f"textgen-{name}"

    def run(self, *arguments: str, keras: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run its Python in its folder; without Keras, neither that nor TensorFlow nor numba can be imported."""
        path = [*([] if keras else [str(self.blocked)]), os.environ.get("PYTHONPATH")]
        variables = self.variables | {"PYTHONPATH": os.pathsep.join(filter(None, path))}
        command = [str(self.python), *arguments]
        return subprocess.run(command, cwd=self.folder, env=variables, capture_output=True, text=True, check=False)

    def textgen(self, *arguments: object, keras: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run a command."""
        return self.run("-m", "textgen", *map(str, arguments), keras=keras)

    def test(self, *names: str, keras: bool = True) -> dict[str, list[str]]:
        """Run the tests of packages in one session; those that passed of each package."""
        report = self.folder / "report.xml"
        folders = [str(self.package(name)) for name in names]
        options = ["-q", "-p", "no:cacheprovider", f"--rootdir={self.folder}", f"--junitxml={report}"]
        done = self.run("-m", "pytest", *options, *folders, keras=keras)
        assert done.returncode == 0, done.stdout
        passed: dict[str, list[str]] = {name: [] for name in names}
        for case in ElementTree.parse(report).iter("testcase"):
            if case.find("skipped") is None:
                package = case.attrib["classname"].partition(".")[0]
                passed[package.removeprefix("textgen-")].append(case.attrib["name"])
        return passed


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The packages that tests install: written and installed once, which takes some seconds."""
    return Workshop(tmp_path_factory.mktemp("workshop"))
