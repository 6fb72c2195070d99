"""With ``--workers``: other processes write, and nothing else is different."""

import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.plugins.textgen_serve.conftest import RECORDED, SLOW, ServerProcess, read_all, read_until
from textgen.errors import UnavailableError
from textgen_serve.served_run import ServedRun
from textgen_serve.writing.workers import Worker

TREES = RECORDED / "lstm-trees"

#: Requests of every kind: one that ends itself, several rows, a stop text, scores, the best of some, no text at all.
ASKED = {
    "ends itself": {"model": "gru-names", "prompt": "", "seed": 4, "max_tokens": 30},
    "rows": {"prompt": ["oak", "a", "the tree"], "n": 7, "seed": 2, "max_tokens": 40},
    "ids": {"prompt": [[3, 4, 5], [6]], "seed": 2, "max_tokens": 40, "row": 2**62},
    "stop": {"prompt": "oak", "stop": ["e", "th"], "seed": 3, "max_tokens": 200, "include_stop_str_in_output": True},
    "scores": {"prompt": "oak", "logprobs": 2, "echo": True, "seed": 5, "max_tokens": 20},
    "best": {"prompt": "oak", "best_of": 6, "n": 2, "seed": 5, "max_tokens": 20},
    "nothing": {"prompt": "oak", "seed": 1, "max_tokens": 0, "echo": True, "logprobs": 1},
    "penalty": {"prompt": "oak", "repetition_penalty": 1.3, "top_p": 0.9, "seed": 6, "max_tokens": 60},
}


@pytest.fixture(scope="module")
def working(plugin):
    """A server of two runs with two workers."""
    server = ServerProcess(TREES, RECORDED / "gru-names", "--workers", 2, plugin=plugin)
    yield server
    server.close()


def workers_of(server):
    """The processes of the workers."""
    children = psutil.Process(server.process.pid).children()
    return [each for each in children if any("spawn_main" in part for part in each.cmdline())]


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_an_answer_is_that_of_a_server_without_workers(working, server, asked):
    asked = {"model": "lstm-trees", **asked}

    def strip(answer):
        del answer["id"], answer["created"]
        return answer

    expected = strip(server.complete(**asked))
    assert strip(working.complete(**asked)) == expected
    if "best_of" not in asked:
        texts = {choice["index"]: choice["text"] for choice in expected["choices"]}
        assert working.streamed(**asked) == texts


def test_it_says_how_many_there_are_and_all_of_them_write(working):
    assert len(workers_of(working)) == 2
    assert any("serving lstm-trees (onnx on cpu, 2 workers)" in line for line in working.lines)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        written = pool.submit(working.texts, prompt="oak", n=4, max_tokens=60, sampler=SLOW)
        working.wait_for("num_rows_running", 4)
        before = [sum(each.cpu_times()[:2]) for each in workers_of(working)]
        written.result()
        after = [sum(each.cpu_times()[:2]) for each in workers_of(working)]
    assert all(later > earlier for earlier, later in zip(before, after, strict=True))
    working.wait_for("num_rows_running", 0)


def test_a_text_goes_on_where_it_was(working, server):
    asked = {"model": "lstm-trees", "seed": 9}
    whole = server.complete(**asked, prompt="oak", max_tokens=60)["choices"][0]["text"]
    first = working.complete(**asked, prompt="oak", max_tokens=25, return_continuation=True)["choices"][0]
    rest = working.texts(**asked, continuation=first["textgen"]["continuation"], max_tokens=35)
    assert first["text"] + rest[0] == whole


def test_a_client_that_leaves_ends_its_texts(working):
    connection = working.send(prompt="oak", n=6, max_tokens=2_000, sampler=SLOW, stream=True)
    working.wait_for("num_rows_running", 6)
    connection.close()
    working.wait_for("num_rows_running", 0)
    working.wait_for("num_requests_running", 0)


def test_a_fault_of_one_request_does_not_reach_the_others(working, trees):
    late = "late(9) | temperature(1) | multinomial"
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        good = [pool.submit(working.texts, prompt="oak", seed=seed, max_tokens=300) for seed in range(4)]
        bad = [pool.submit(working.post, prompt="oak", sampler=late, n=4, max_tokens=500) for _ in range(4)]
        assert [each.result().status_code for each in bad] == [500] * 4
        assert [each.result()[0] for each in good] == [
            trees.generate("oak", seed=seed, length=300)[3:] for seed in range(4)
        ]
    working.wait_for("num_rows_running", 0)
    assert httpx.get(working.url + "/health").status_code == 200


def kill_a_worker(server):
    workers_of(server)[1].kill()


def write_with_a_deadly_sampler(server):
    killer = server.post(prompt="oak", sampler="deadly | multinomial")
    assert (killer.status_code, killer.json()["error"]["code"]) == (503, "engine_dead")


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (kill_a_worker, "a worker has ended: killed by signal 9 (Killed)"),
        (write_with_a_deadly_sampler, "a worker has ended: exit code 1"),
    ],
)
def test_when_a_worker_dies_all_are_told_and_the_process_ends(start, end, message):
    server = start("--workers", 2, run=TREES)
    stream = server.send(prompt="oak", n=4, max_tokens=2_000, sampler=SLOW, stream=True)
    whole = server.send(prompt="oak", max_tokens=2_000, sampler=SLOW)
    received = read_until(stream, b"data: ")
    server.wait_for("num_rows_running", 5)
    began = time.monotonic()
    end(server)
    received += read_all(stream)
    assert json.loads(received.split(b"data: ")[-1].split(b"\n")[0])["error"]["code"] == "engine_dead"
    assert whole.recv(65_536).startswith(b"HTTP/1.1 503")
    assert time.monotonic() - began < 1.5
    workers = workers_of(server)
    assert server.end() == 1
    assert [line["message"] for line in server.log if line.get("error") == "WorkerDied"] == [message]
    assert not psutil.wait_procs(workers, timeout=5)[1]


def test_signals_to_the_whole_group_let_texts_end(start, trees):
    server = start("--workers", 2, run=TREES)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        written = pool.submit(server.texts, prompt="oak", max_tokens=60, sampler=SLOW, seed=3, n=3)
        server.wait_for("num_rows_running", 3)
        for process in [*workers_of(server), psutil.Process(server.process.pid)]:  # as systemd does it
            process.send_signal(signal.SIGTERM)
        chain = SLOW.partition("| ")[2]
        assert written.result() == [text[3:] for text in trees.generate(["oak"] * 3, length=60, sampler=chain, seed=3)]
    assert server.end() == 0


def test_a_terminal_that_closes_ends_all_of_the_group(start):
    server = start("--workers", 2, run=TREES)
    stream = server.send(prompt="oak", n=2, max_tokens=2_000, sampler=SLOW, stream=True)
    received = read_until(stream, b"data: ")
    workers = workers_of(server)
    for process in [*workers, psutil.Process(server.process.pid)]:
        process.send_signal(signal.SIGHUP)
    received += read_all(stream)
    assert json.loads(received.split(b"data: ")[-1].split(b"\n")[0])["error"]["code"] == "shutting_down"
    assert server.end() == 128 + signal.SIGHUP
    assert not psutil.wait_procs(workers, timeout=5)[1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_the_server(start, number):
    server = start("--workers", 2, run=TREES)
    _client = server.send(prompt="oak", n=4, max_tokens=2_000, sampler=SLOW, stream=True)
    server.wait_for("num_rows_running", 4)
    workers = workers_of(server)
    assert len(workers) == 2
    server.signal(number)
    server.end()
    assert not psutil.wait_procs(workers, timeout=5)[1]


def test_places_and_the_queue_are_those_of_the_server(start):
    server = start("--rows", 4, "--queue", 2, "--workers", 2, run=TREES)
    writing = [server.send(prompt="oak", max_tokens=2_000, sampler=SLOW, stream=True) for _ in range(6)]
    server.wait_for("num_requests_waiting", 2)
    assert server.metric("num_rows_running") == 4
    assert server.post(prompt="oak").status_code == 429
    for each in writing:
        each.close()
    server.wait_for("num_requests_waiting", 0)


@pytest.mark.parametrize(("rows", "workers"), [(1, 0), (3, 2)])
def test_as_many_rows_as_were_allowed_are_written_whatever_their_share(start, rows, workers):
    server = start("--rows", rows, "--workers", 2, run=TREES)
    assert len(workers_of(server)) == workers
    writing = [server.send(prompt="oak", max_tokens=2_000, sampler=SLOW, stream=True) for _ in range(5)]
    server.wait_for("num_requests_waiting", 5 - rows)
    assert server.metric("num_rows_running") == rows
    for each in writing:
        each.close()


@pytest.mark.parametrize("seconds", [0.8, 1.2, 1.6])
def test_an_interrupted_start_is_silent(tmp_path, seconds):
    command = [sys.executable, "-m", "textgen", "serve", str(TREES), "--port", "0", "--workers", "2"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
    assert "Traceback" not in process.communicate(timeout=60)[1]
    assert process.returncode == 130


def test_a_current_folder_that_was_removed_is_told(tmp_path):
    command = f"{sys.executable} -m textgen serve {TREES} --port 0 --workers 2"
    (tmp_path / "gone").mkdir()
    ended = subprocess.run(
        ["sh", "-c", f"cd gone && rmdir ../gone && exec {command}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr == "textgen: error: the current folder has been removed; change to another one, as in: cd ~\n"


def test_what_keeps_a_worker_from_loading_a_run_is_told(tmp_path):
    shutil.copytree(TREES, tmp_path / "gone")
    run = ServedRun.open(str(tmp_path / "gone"), default_length=200, most_rows=8, device="cpu", trust_graph=False)
    worker = Worker(0, 1)
    shutil.rmtree(tmp_path / "gone")
    worker.set_up([run])
    with pytest.raises(
        UnavailableError, match=r"a worker cannot load .*: .*gone does not exist.*; start the server again"
    ):
        worker.wait()
    worker.end()
