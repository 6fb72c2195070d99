"""The environment variables: read in one file, which describes them all."""

import ast
import os
import re
from pathlib import Path

import pytest

from textgen.base import environment
from textgen.base.environment import VARIABLES

ROOT = Path(__file__).parents[3]

#: Reads the secrets of the server, which docs/serve.md describes: nothing else may see them.
SERVER = ROOT / "plugins" / "textgen_serve" / "command.py"


def strings(path: Path) -> set[str]:
    """The strings in a file that are the name of a variable and nothing else."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    values = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {value for value in values if re.fullmatch("TEXTGEN_[A-Z0-9_]+", value)}


def test_no_other_file_reads_a_variable():
    own = ROOT / "textgen" / "base" / "environment.py"
    for folder in ("textgen", "plugins", "exports"):
        for path in (ROOT / folder).rglob("*.py"):
            assert path in (own, SERVER) or strings(path) == set(), path
    assert strings(own) == {variable.name for variable in VARIABLES}


def test_every_variable_is_described():
    assert all(variable.meaning.endswith(".") and variable.default for variable in VARIABLES)


def test_folders_come_from_the_environment(monkeypatch, tmp_path):
    for variable in VARIABLES:
        monkeypatch.delenv(variable.name, raising=False)
    assert environment.runs_folder() == Path("runs")
    assert environment.data_folder(None) is None
    assert environment.cache_folder().is_absolute()
    assert environment.cache_folder().name == "textgen"

    monkeypatch.chdir(tmp_path)
    for variable in (environment.RUNS_DIR, environment.DATA_DIR, environment.CACHE_DIR):
        monkeypatch.setenv(variable.name, variable.name.lower())
    assert environment.runs_folder() == Path("textgen_runs_dir")
    assert environment.data_folder(None) == Path("textgen_data_dir")
    assert environment.data_folder(Path("chosen")) == Path("chosen")
    assert environment.cache_folder() == tmp_path / "textgen_cache_dir"


@pytest.mark.parametrize(
    ("listed", "allowed"), [(None, None), ("", set()), (" one , two,", {"one", "two"})], ids=["unset", "empty", "two"]
)
def test_plugins_are_listed_with_commas(monkeypatch, listed, allowed):
    monkeypatch.delenv("TEXTGEN_PLUGINS", raising=False)
    if listed is not None:
        monkeypatch.setenv("TEXTGEN_PLUGINS", listed)
    assert environment.allowed_plugins() == allowed


def test_a_user_without_a_home_has_a_folder_for_temporary_files(monkeypatch, tmp_path):
    monkeypatch.delenv("TEXTGEN_CACHE_DIR", raising=False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))

    def no_home(*names: object, **options: object) -> Path:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr("platformdirs.user_cache_path", no_home)
    folder = environment.cache_folder()
    assert folder == tmp_path / f"textgen-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)  # others could have put something there
    assert not environment.cache_folder().is_relative_to(tmp_path)
    folder.rmdir()
    (tmp_path / "planted").mkdir()
    folder.symlink_to(tmp_path / "planted")
    assert not environment.cache_folder().exists()
    folder.unlink()
    monkeypatch.chdir(tmp_path)  # where Python looks last
    assert not environment.cache_folder().is_relative_to(tmp_path)


def test_a_library_keeps_its_files_in_the_cache_if_the_user_has_no_home(monkeypatch, tmp_path):
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("A_LIBRARY_HOME", "")
    monkeypatch.delenv("A_LIBRARY_HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: "/home/somebody")
    environment.keep_in_cache("A_LIBRARY_HOME", "library")
    assert "A_LIBRARY_HOME" not in os.environ
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    environment.keep_in_cache("A_LIBRARY_HOME", "library")
    assert os.environ["A_LIBRARY_HOME"] == str(tmp_path / "library")
    monkeypatch.setenv("A_LIBRARY_HOME", "chosen")
    environment.keep_in_cache("A_LIBRARY_HOME", "library")
    assert os.environ["A_LIBRARY_HOME"] == "chosen"
