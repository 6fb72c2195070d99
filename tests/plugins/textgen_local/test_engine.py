"""The engine ``local``, with real processes."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import textgen
from textgen.bulk import plan as planning
from textgen.errors import TextgenError
from textgen_local.engine import LocalEngine, LocalOptions

RUN = Path(__file__).parents[2] / "recorded" / "gru-names"


class Task:
    """Stands for the work of a job: tells of the process that wrote a chunk."""

    def __init__(self, folder, *, deadly=(), wrong=(), slow=0.0):
        self.folder, self.deadly, self.wrong, self.slow = folder, deadly, wrong, slow

    def __call__(self, chunk):
        (self.folder / f"{chunk.first}-{os.getpid()}-{time.monotonic_ns()}").touch()
        if chunk.first in self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if chunk.first in self.wrong:
            raise self.wrong[chunk.first]
        if chunk.first % 3 == 0:
            time.sleep(self.slow)
        return textgen.Written(
            chunk.first, chunk.size, range(chunk.first, chunk.first + chunk.size), textgen.usable_cores()
        )


def begun(folder):
    """The processes that have begun each chunk."""
    found: dict[int, list[int]] = {}
    for path in folder.iterdir():
        first, process, _ = path.name.split("-")
        found.setdefault(int(first), []).append(int(process))
    return found


def chunks(number):
    return [textgen.Chunk(first, 1) for first in range(number)]


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for processes in /proc")


def engine(workers, **options):
    return LocalEngine(LocalOptions(**options), workers)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Lets a new process import this module, whose class it gets by pickle."""
    here = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setitem(sys.modules, "test_engine", sys.modules[__name__])
    monkeypatch.setattr(Task, "__module__", "test_engine")


def test_chunks_are_written_by_several_processes_and_come_in_order(tmp_path):
    found = list(engine(2).map(Task(tmp_path, slow=0.1), chunks(12)))
    assert [each.first for each in found] == list(range(12))
    writers = {process for each in begun(tmp_path).values() for process in each}
    assert len(writers) == 2
    assert os.getpid() not in writers
    assert {each.records for each in found} == {1}  # core


def test_one_worker_is_this_process_with_one_core(tmp_path):
    before = textgen.usable_cores()
    found = list(engine(1).map(Task(tmp_path), chunks(3)))
    assert [each.first for each in found] == [0, 1, 2]
    assert {each.records for each in found} == {1}
    assert {process for each in begun(tmp_path).values() for process in each} == {os.getpid()}
    assert textgen.usable_cores() == before


def test_a_worker_may_have_more_cores_and_a_single_chunk_has_all(tmp_path):
    all_cores = textgen.usable_cores()
    for workers in (1, 2):
        found = engine(workers, cores=all_cores).map(Task(tmp_path), chunks(4))
        assert {each.records for each in found} == {all_cores}
    assert [each.records for each in engine(2).map(Task(tmp_path), chunks(1))] == [all_cores]


def test_few_chunks_are_taken_ahead_and_a_closed_job_leaves_no_process(tmp_path):
    taken = []

    def coming():
        for chunk in chunks(1000):
            taken.append(chunk)
            yield chunk

    results = engine(2).map(Task(tmp_path), coming())
    for _ in range(5):
        next(results)
    assert len(taken) <= 5 + 2 * 2 + 1
    results.close()
    for process in {each for processes in begun(tmp_path).values() for each in processes}:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_a_worker_that_dies_is_replaced_and_its_chunk_written_again(tmp_path, capfd):
    results = engine(2).map(Task(tmp_path, slow=2), chunks(9))
    next(results)
    (victim,) = begun(tmp_path)[3] if 3 in begun(tmp_path) else begun(tmp_path)[0]
    os.kill(victim, signal.SIGKILL)
    assert [each.first for each in results] == list(range(1, 9))
    assert "a worker was killed by signal 9" in capfd.readouterr().err


def test_a_chunk_over_which_workers_die_again_and_again_is_given_up(tmp_path):
    with pytest.raises(
        TextgenError, match="3 workers in a row died over rows 4 to 4; the last one was killed by signal 9"
    ):
        list(engine(2).map(Task(tmp_path, deadly={4}), chunks(9)))
    assert len(begun(tmp_path)[4]) == 3


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [(TextgenError("too wide"), TextgenError, "^too wide$"), (KeyError("x"), RuntimeError, "KeyError: 'x'")],
)
def test_an_error_in_a_worker_is_raised_here(tmp_path, error, raised, message):
    with pytest.raises(raised, match=message):
        list(engine(2).map(Task(tmp_path, wrong={2: error}), chunks(5)))


def job(out, *options):
    command = [sys.executable, "-m", "textgen", "sample", RUN, "--num", "600", "--seed", "7", "--shard-rows", "40"]
    return [str(part) for part in (*command, "--out", out, *options)]


def children(process):
    """The workers of a process; the one that tracks resources of multiprocessing is none."""
    found = [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return [each for each in found if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()]


def wait_for(condition):
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@linux
@pytest.mark.slow
def test_a_job_survives_kills_of_a_worker_and_of_its_first_process(tmp_path):
    whole, out = tmp_path / "whole.jsonl", tmp_path / "names.jsonl"
    textgen.load(RUN).write(whole, num=600, seed=7, workers=1)
    first = subprocess.Popen(job(out, "--workers", "2"))
    parts = tmp_path / "names.jsonl.job"
    wait_for(lambda: len(list(parts.glob("part-*"))) >= 2)
    workers = children(first.pid)
    first.kill()
    first.wait()
    wait_for(lambda: not any(Path(f"/proc/{each}").exists() for each in workers))  # they end by themselves
    written = {path.name: path.stat().st_mtime_ns for path in parts.glob("part-*")}
    assert len(written) < 15
    second = subprocess.Popen(job(out, "--workers", "2"), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: second.poll() is not None or len(children(second.pid)) >= 2)
    for worker in children(second.pid)[-1:] if second.poll() is None else ():
        os.kill(worker, signal.SIGKILL)
    _, shown = second.communicate(timeout=120)
    assert second.returncode == 0, shown
    assert out.read_bytes() == whole.read_bytes()
    assert [path.name for path in parts.iterdir()] == ["job.json"]


@linux
@pytest.mark.slow
def test_ctrl_c_ends_all_processes_and_says_how_to_continue(tmp_path):
    out = tmp_path / "names"
    command = subprocess.Popen(job(out, "--workers", "2"), stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for((out / "part-00001.jsonl").exists)
    workers = children(command.pid)
    os.killpg(command.pid, signal.SIGINT)  # as a terminal does
    _, shown = command.communicate(timeout=60)
    assert (command.returncode, shown.splitlines()[-1]) == (
        130,
        f"textgen: stopped; to continue {out}, run the same command again",
    )
    assert not list(out.glob(".textgen-*"))
    assert not any(Path(f"/proc/{each}").exists() for each in workers)


def test_a_script_without_a_guard_may_use_several_processes(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import textgen\n"
        f"report = textgen.load({str(RUN)!r}).write('names.csv', num=40, seed=7, workers=2, shard_rows=10)\n"
        "print(report.texts)\n"
    )
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("40\n", "")


def test_workers_have_the_plugins_of_this_process(tmp_path):
    plugin = tmp_path / "last.py"
    plugin.write_text(
        "import numpy as np, textgen\n"
        "class Last(textgen.Selector):\n"
        "    def select(self, logits, uniforms):\n"
        "        return np.full(len(logits), 3, np.int32)\n"
        "@textgen.hookimpl\n"
        "def textgen_register_samplers(register):\n"
        "    register('last', Last)\n"
    )
    out = tmp_path / "names.jsonl"
    options = ["--sampler", "last", "--length", "4", "--workers", "2", "--plugin", plugin]
    subprocess.run(job(out, *options), check=True)
    texts = [json.loads(line)["text"] for line in out.read_text().splitlines()]
    assert len(texts) == 600
    assert {text[-3:] for text in texts} == {texts[0][-1] * 3}


@pytest.mark.slow
def test_the_bytes_are_those_of_one_worker(monkeypatch, tmp_path):
    monkeypatch.setattr(planning, "ROWS", 7)
    options: Any = {"num": 60, "seed": 7, "unique": True, "match": "[aeiou]s", "log_probability": True}
    for workers in (1, 2, 5):
        textgen.load(RUN).write(tmp_path / f"{workers}.csv", shard_rows=11, workers=workers, **options)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes() == (tmp_path / "5.csv").read_bytes()


def test_a_run_goes_to_another_machine_by_content(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(RUN, run)
    generator = textgen.load(run)
    work = planning.make_plan(generator, planning.Wanted.of(tmp_path / "x.jsonl", None, **NOTHING)).work
    chunk = textgen.Chunk(5, 4)
    expected = work(chunk)
    altered = work.pack()
    packed = pickle.dumps(altered)
    shutil.rmtree(run)
    assert pickle.loads(packed).open()(chunk) == expected
    files: Any = altered._files
    files["tokenizer.json"] = files["tokenizer.json"].replace(b"a", b"b", 1)
    with pytest.raises(TextgenError, match="altered"):
        altered.open()


def test_a_machine_that_computes_in_another_way_is_refused(monkeypatch, tmp_path):
    generator = textgen.load(RUN)
    monkeypatch.setattr(generator.runtime, "device", "cuda:0")  # as if the job was started on a machine with a GPU
    work = planning.make_plan(generator, planning.Wanted.of(tmp_path / "x.jsonl", None, **NOTHING)).work
    with pytest.raises(TextgenError, match="a worker computes with fp32 on cpu, and the job with fp32 on cuda: "):
        work.pack().open()


NOTHING = {
    **{"prompts_file": None, "column": None, "keep": (), "shard_rows": 50, "unique": False, "novel": None},
    **{"match": None, "max_length": None, "log_probability": False, "on_bad_row": "stop", "options": {"seed": 1}},
}
