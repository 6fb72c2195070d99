"""A generator in other processes and threads, and its copies."""

import copy
import multiprocessing
import os
import pickle
import select
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import textgen
from textgen.errors import ArtifactError
from textgen.testing import recurrent, registered

RECORDED = Path(__file__).parents[1] / "recorded" / "gru-names"

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

RUNTIMES = ["numpy", "onnx", pytest.param("keras", marks=[pytest.mark.keras, pytest.mark.slow])]


def write(generator: textgen.TextGenerator, seed: int = 1) -> list[str]:
    return generator.generate(["A", "Ed"], seed=seed, length=30, num=3, ignore_eos=True)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    shutil.copytree(RECORDED, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """An export that is worth several threads."""
    folder: Path = tmp_path_factory.mktemp("wide")
    text = folder / "text.txt"
    text.write_text("the cat sat on the mat\n" * 30, encoding="utf-8")
    settings = {"model": {"units": 256}, "training": {"length": 20, "epochs": 1, "sample_every": 0}}
    with registered(recurrent, name="fixed-gru"):
        textgen.train(text, "fixed-gru", settings=settings, out=folder / "run")
        textgen.export(folder / "run")
    export: Path = folder / "run" / "onnx"
    return export


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_generator_is_pickled_by_its_folder(run, name):
    generator = textgen.load(run, runtime=name, device="cpu")
    generator.defaults = generator.defaults.model_copy(update={"length": 5})
    pickled = pickle.dumps(generator)
    assert len(pickled) < 4096  # no weights
    again = pickle.loads(pickled)
    assert (again.runtime_name, again.defaults.length) == (name, 5)
    assert write(again) == write(generator)


def test_the_folder_is_the_one_that_was_loaded(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    generator = textgen.load("run", runtime="numpy")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert write(pickle.loads(pickle.dumps(generator))) == write(generator)


def test_an_export_is_pickled_too(run):
    generator = textgen.load(run / "onnx")
    assert write(pickle.loads(pickle.dumps(generator))) == write(generator)


def test_other_weights_are_not_taken_for_those_that_were_pickled(run, tmp_path):
    pickled = pickle.dumps(textgen.load(run, runtime="numpy"))
    shutil.rmtree(run)
    with pytest.raises(ArtifactError, match="run"):
        pickle.loads(pickled)
    shutil.copytree(RECORDED.with_name("gru-trees"), run)
    with pytest.raises(ArtifactError, match="has other weights than when its generator was pickled"):
        pickle.loads(pickled)


def test_a_generator_without_a_folder_to_load_says_so(run):
    loaded = textgen.load(run, runtime="numpy")
    with pytest.raises(ArtifactError, match=r"only a generator that textgen\.load returned"):
        pickle.dumps(textgen.TextGenerator(loaded.run, loaded.runtime, "numpy"))


@pytest.mark.parametrize("name", RUNTIMES)
def test_copies_write_the_same_and_have_defaults_of_their_own(run, name):
    generator = textgen.load(run, runtime=name)
    for again in (copy.copy(generator), copy.deepcopy(generator)):
        assert write(again) == write(generator)
        again.defaults = again.defaults.model_copy(update={"length": 3})
        assert generator.defaults.length != 3
        assert again.runtime is generator.runtime


@pytest.mark.parametrize("method", ["spawn", pytest.param("fork", marks=needs_fork)])
@pytest.mark.parametrize("name", ["numpy", "onnx"])
def test_a_pool_of_processes_writes_the_same(run, name, method):
    generator = textgen.load(run, runtime=name)
    expected = [write(generator, seed) for seed in range(4)]
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        assert list(pool.map(partial(write, generator), range(4), timeout=120)) == expected


@pytest.mark.parametrize("name", ["numpy", "onnx"])
def test_threads_write_the_same(run, name):
    generator = textgen.load(run, runtime=name)
    expected = [write(generator, seed) for seed in range(48)]
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(partial(write, textgen.load(run, runtime=name)), range(48))) == expected


def answer_of_child(work) -> str:
    """What work returns in a forked process that then exits in order; ``"hangs"`` if it does not end."""
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(send, work().encode())
        except Exception as error:
            os.write(send, f"{type(error).__name__}: {error}".encode())
        finally:
            sys.exit(0)
    found = os.read(receive, 10_000).decode() if select.select([receive], [], [], 60)[0] else "hangs"
    os.close(receive)
    os.close(send)
    for _ in range(200):
        if os.waitpid(child, os.WNOHANG)[0]:
            return found
        time.sleep(0.05)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return "hangs"


FORKS = """
import os, sys, textgen
sys.path.insert(0, {tests!r})
from test_text_generator import answer_of_child, write
from textgen_onnx.running import threads
if {way!r}:
    class Remembered(dict):
        def get(self, key, default=None): return threads.Threads(2, {way!r})
        __getitem__ = get
    threads._read = Remembered
    threads.usable_cores = lambda: 2
generator = textgen.load({run!r}, runtime={name!r})
expected = repr(generator.generate("the ", seed=1, length=40, num=8, ignore_eos=True))
for _ in range(3):
    found = answer_of_child(lambda: repr(generator.generate("the ", seed=1, length=40, num=8, ignore_eos=True)))
    print(found == expected or found)
print(answer_of_child(lambda: "idle") == "idle")
"""


@needs_fork
@pytest.mark.parametrize("way", ["operators", "rows", ""])
def test_a_forked_process_makes_threads_of_its_own(wide, way, tmp_path):
    program = FORKS.format(tests=str(Path(__file__).parent), way=way, run=str(wide), name="onnx")
    variables = os.environ | {"TEXTGEN_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=variables)
    assert (done.returncode, done.stdout) == (0, "True\n" * 4), done.stderr


@needs_fork
@pytest.mark.keras
@pytest.mark.slow
def test_tensorflow_does_not_survive_a_fork_and_says_so():
    program = FORKS.format(tests=str(Path(__file__).parent), way="", run=str(RECORDED), name="keras")
    program = program.replace('"the "', '"A"')
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.count("UnavailableError: TensorFlow does not survive a fork") == 3, done.stderr
    assert done.stdout.endswith("\nTrue\n")


@pytest.mark.parametrize("name", ["numpy", "onnx"])
def test_numpys_errors_of_a_program_change_no_text(run, name):
    generator = textgen.load(run, runtime=name)
    cold = partial(generator.generate, "A", seed=1, length=30, num=3, ignore_eos=True, temperature=0.001)
    expected = cold()
    former = np.seterr(all="raise")
    try:
        assert cold() == expected
        assert set(np.geterr().values()) == {"raise"}
    finally:
        np.seterr(**former)
