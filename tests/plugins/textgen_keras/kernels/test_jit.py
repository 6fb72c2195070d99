"""Machine code that other processes find again, as long as the sources are the same."""

import errno
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.keras

KERNELS = Path(__file__).parents[4] / "plugins/textgen_keras/kernels"

TWO_LINES = """
from textgen_keras.kernels.jit import compiled

@compiled
def double(array):
    for n in range(len(array)):
        array[n] *= 2
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def run(tmp_path):
    """Define and call a compiled function, as a new process would."""
    path = tmp_path / "two_lines.py"
    path.write_text(TWO_LINES)

    def run():
        spec = importlib.util.spec_from_file_location("two_lines", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["two_lines"] = module
        spec.loader.exec_module(module)
        array = np.arange(3.0)
        module.double(array)
        np.testing.assert_array_equal(array, [0, 2, 4])

    yield run
    sys.modules.pop("two_lines", None)


def files_in(folder):
    return {path: path.read_bytes() for path in folder.rglob("*.nb?")}


def test_machine_code_is_found_again(cache, run):
    run()
    files = files_in(cache)
    assert {path.suffix for path in files} == {".nbc"}
    run()
    assert files_in(cache) == files


def test_machine_code_of_other_sources_is_not_used(cache, run, monkeypatch):
    from textgen_keras.kernels import jit

    run()
    (machine_code,) = cache.rglob("*.nbc")
    machine_code.write_bytes(b"")
    monkeypatch.setattr(jit, "SOURCES", "changed")
    run()
    (other,) = set(cache.rglob("*.nbc")) - {machine_code}
    assert other.stat().st_size
    assert machine_code.read_bytes() == b""  # it was neither read, which would fail, nor replaced


@pytest.mark.parametrize(
    "damage", [lambda code: b"", lambda code: code[:-1], lambda code: code[:900] + b"?" + code[901:]]
)
def test_damaged_machine_code_is_compiled_anew(cache, run, damage):
    run()
    (machine_code,) = cache.rglob("*.nbc")
    whole = machine_code.read_bytes()
    machine_code.write_bytes(damage(whole))
    run()
    assert len(machine_code.read_bytes()) == pytest.approx(len(whole), rel=0.01)
    files = files_in(cache)
    run()
    assert files_in(cache) == files


#: Compiles for numbers of one type after another, and says whether each result is right.
DOUBLE = """
import sys, numpy as np, two_lines
for name in sys.argv[1:]:
    array = np.arange(1, 9).astype(name)
    two_lines.double(array)
    assert array.tolist() == [2, 4, 6, 8, 10, 12, 14, 16], (name, array)
"""


def test_processes_that_compile_at_the_same_time_do_not_take_the_machine_code_of_each_other(tmp_path, run):
    types = ["float32", "float64", "int64", "int8"]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), environment.get("PYTHONPATH", "")])

    def start(*names):
        return subprocess.Popen([sys.executable, "-c", DOUBLE, *names], env=environment, stderr=subprocess.PIPE)

    processes = [start(*types[turn:], *types[:turn]) for turn in range(4)]
    processes.append(start())
    for process in processes:
        assert process.communicate()[1] == b""
    files = files_in(tmp_path / "cache")
    assert len(files) == len(types)
    assert start(*types).communicate()[1] == b""
    assert files_in(tmp_path / "cache") == files


def test_without_a_folder_that_can_be_written_nothing_is_kept(cache, run, monkeypatch):
    from numba.core import caching

    def refuse(self):
        raise PermissionError(errno.EACCES, "read-only")

    monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", refuse)
    run()
    assert not cache.exists()


def test_a_full_disk_stops_nothing(cache, run, monkeypatch):
    from numba.core import caching

    def fail(self, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "_open_for_write", fail)
    run()
    assert not files_in(cache)


KERNEL = """
import numpy as np
from textgen_keras.kernels.cross_entropy import cross_entropy
ones = np.ones((2, 2), np.float32)
loss = cross_entropy(ones[None], ones, ones[0], np.zeros((2, 1), np.int32), ones[:, :1])[0]
assert abs(loss - 2 * np.log(2)) < 1e-6
"""


def test_another_process_finds_the_machine_code_of_a_kernel(tmp_path):
    found = []
    for _ in range(2):
        program = [sys.executable, "-c", KERNEL]
        subprocess.run(program, check=True, env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)})
        found.append({path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")})
    assert found[0]
    assert found[0] == found[1]  # a process that compiles would have written its machine code


def test_no_two_compiled_functions_share_a_name():
    """Numba tells them apart by names and a count of the process, and other processes count differently."""
    from numba.core.dispatcher import Dispatcher

    from textgen_keras.kernels import arrays, cross_entropy, gru, lstm, matmul, packing, vectors

    found: dict[tuple[str, str], object] = {}
    for module in (arrays, cross_entropy, gru, lstm, matmul, packing, vectors):
        for dispatcher in vars(module).values():
            if isinstance(dispatcher, Dispatcher):
                function = dispatcher.py_func
                name = (function.__module__, function.__qualname__)
                assert found.setdefault(name, dispatcher) is dispatcher, name
    assert len(found) > 8


def test_any_change_of_a_file_changes_the_version_of_the_machine_code(tmp_path):
    from textgen_keras.kernels import jit

    folder = tmp_path / "kernels"
    shutil.copytree(KERNELS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    versions = [jit.hash_of(folder)]
    assert versions == [jit.SOURCES]
    for path in sorted(folder.glob("*.py")):
        path.write_bytes(path.read_bytes() + b"\n")
        versions.append(jit.hash_of(folder))
    (folder / "new.py").write_text("")
    versions.append(jit.hash_of(folder))
    (folder / "inner").mkdir()
    (folder / "new.py").rename(folder / "inner/new.py")
    versions.append(jit.hash_of(folder))
    (folder / "inner/new.py").unlink()
    versions.append(jit.hash_of(folder))
    assert len(set(versions)) == len(versions) - 1
    assert versions[-1] == versions[-4]  # without the new file it is the same again
