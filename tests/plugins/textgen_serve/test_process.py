"""The process: how it starts, what it prints, one seed and one text, and how it ends; and its OpenAPI document."""

import concurrent.futures
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from tests.plugins.textgen_serve.conftest import RECORDED, ROOT, SLOW, ServerProcess, read_all

TREES = RECORDED / "lstm-trees"


def test_12_a_text_of_the_server_is_what_the_command_prints(server):
    options = ["--length", "80", "--seed", "5", "--temperature", "1.1", "--top-k", "7"]
    command = [sys.executable, "-m", "textgen", "sample", str(TREES), "--prompt", "oak", *options]
    printed = run(*command).stdout
    body = {"model": "lstm-trees", "prompt": "oak", "max_tokens": 80, "seed": 5, "temperature": 1.1, "top_k": 7}
    assert server.texts(**body, echo=True) == [printed.removesuffix("\n")]


# -- the start


def test_it_says_where_it_is_and_what_it_serves(start):
    server = start(run=f"trees={TREES}")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
    health = httpx.get(server.url + "/health")
    assert (health.status_code, health.json()) == (200, {"status": "ok", "models": ["trees"], "default_length": 200})
    (model,) = httpx.get(server.url + "/v1/models").json()["data"]
    assert (model["id"], model["owned_by"]) == ("trees", "textgen")
    about = model["textgen"]
    assert about["run"] == "lstm-trees"
    assert (about["vocab_size"], about["cell"], about["units"], about["precision"]) == (30, "lstm", [6, 6], "fp32")
    assert (about["chain"], about["default_length"]) == ("temperature(0.8) | multinomial", 200)
    server.close()
    assert any("serving trees (onnx on cpu)" in line for line in server.lines)


def test_an_export_is_called_as_its_run(start):
    server = start(run=TREES / "onnx")
    assert httpx.get(server.url + "/health").json()["models"] == ["lstm-trees"]


def test_by_default_the_latest_run_is_served(plugin, tmp_path):
    for name in ("gru-names", "lstm-trees"):
        shutil.copytree(RECORDED / name, tmp_path / name)
    server = ServerProcess(plugin=plugin, TEXTGEN_RUNS_DIR=str(tmp_path))
    sample = [sys.executable, "-m", "textgen", "sample", "--length", "20", "--seed", "1"]
    assert server.texts(seed=1, max_tokens=20) == [run(*sample, TEXTGEN_RUNS_DIR=str(tmp_path)).stdout.rstrip("\n")]
    server.close()


def run(*command, cwd=None, **variables):
    """Run a command to its end."""
    environment = os.environ | variables
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=cwd, timeout=280)


def before(folder):
    """PYTHONPATH with another folder at its beginning."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


MISTAKES = [
    (["nowhere"], "nowhere"),
    (["nowhere", "--workers", "2"], "nowhere"),
    ([TREES, "--workers", "0"], "--workers"),
    ([TREES, TREES], "two runs are called lstm-trees; name one of them, as in other=lstm-trees"),
    ([TREES, "--host", "192.0.2.1"], "cannot listen on 192.0.2.1"),
    ([TREES, "--port", "65536"], "--port"),
    ([TREES, "--api-key-file", "missing"], "--api-key-file: missing cannot be read: no such file or directory"),
    ([TREES, "--device", "gpu"], "unknown device 'gpu'"),
    # Each of these would have let everyone in, or nobody.
    ([TREES, "--api-key-file", "utf16"], "--api-key-file: utf16 is not text in UTF-8; write one key per line"),
    ([TREES, "--api-key-file", "blank"], "there is no API key in blank; write one per line"),
    ([TREES, "--api-key-file", "comments"], "there is no API key in comments; write one per line"),
    (
        [TREES, "--allowed-host", "https://a.example/"],
        "--allowed-host must be a whole name or an address, without scheme",
    ),
    ([TREES, "--allowed-host", "a.example:80"], "--allowed-host must be a whole name or an address, without scheme"),
    ([TREES, "--allowed-host", "*.a.example"], "--allowed-host must be a whole name or an address, without scheme"),
    ([TREES, "--allowed-host", ""], "--allowed-host must be a whole name or an address"),
    ([TREES, "--cors-origin", "https://*.a.example"], "--cors-origin must be *, localhost, or as in"),
    ([f"a b={TREES}"], "a model cannot have the name 'a b': in NAME=RUN, a name begins with a letter or a digit"),
    ([f"a/b={TREES}"], "a model cannot have the name 'a/b'"),
    ([f"={TREES}"], "a model cannot have the name ''"),
    (["trees="], "there is no run after the = of 'trees='; name one, as in trees=RUN"),
    ([TREES, "--cors-origin", "a.example"], "--cors-origin must be *, localhost, or as in https://example.org"),
    ([TREES, "--cors-origin", "https://a.example/page"], "--cors-origin must be *, localhost, or as in"),
]


@pytest.mark.parametrize(("arguments", "error"), MISTAKES, ids=lambda value: str(value)[-40:])
def test_a_mistake_is_one_line(arguments, error, tmp_path):
    (tmp_path / "utf16").write_text("key", encoding="utf-16")
    (tmp_path / "blank").write_text(" \n")
    (tmp_path / "comments").write_text("# key\n  # another\n")
    command = [sys.executable, "-m", "textgen", "serve", *map(str, arguments)]
    done = run(*command, *([] if "--port" in arguments else ["--port", "0"]), cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert error in done.stderr


def test_keys_that_are_none_do_not_let_everyone_in():
    done = run(sys.executable, "-m", "textgen", "serve", str(TREES), "--port", "0", TEXTGEN_API_KEYS=" , ")
    assert done.returncode == 2
    assert "there is no API key in TEXTGEN_API_KEYS; write one, or unset it" in done.stderr


def test_a_port_in_use_is_one_line(server):
    command = [sys.executable, "-m", "textgen", "serve", str(TREES), "--port", str(server.port)]
    done = run(*command)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {server.port}: address already in use" in done.stderr


def test_without_the_extra_it_says_what_to_install(tmp_path):
    (tmp_path / "starlette.py").write_text("raise ModuleNotFoundError('no module', name='starlette')")
    done = run(sys.executable, "-m", "textgen", "serve", str(TREES), PYTHONPATH=before(tmp_path))
    assert done.returncode == 2
    assert done.stderr == (
        'textgen: error: textgen serve needs starlette; install it with: pip install "textgen-rnn[serve]"\n'
    )


def test_it_imports_no_training_library(start, tmp_path):
    for library in ("tensorflow", "keras", "numba"):
        (tmp_path / f"{library}.py").write_text("raise ImportError('this environment has no such library')\n")
    server = start(run=TREES, PYTHONPATH=before(tmp_path))
    assert server.texts(prompt="oak", seed=1)


def test_a_run_without_an_export_is_run_from_its_weights(start, tmp_path, trees):
    shutil.copytree(TREES, tmp_path / "bare", ignore=shutil.ignore_patterns("onnx"))
    server = start(run=tmp_path / "bare")
    assert httpx.get(server.url + "/v1/models").json()["data"][0]["textgen"]["runtime"] == "numpy"
    assert server.texts(prompt="oak", seed=1, max_tokens=50) == [trees.generate("oak", seed=1, length=50)[3:]]


# -- the end


def test_19_sigterm_lets_texts_end_and_refuses_new_ones(start, trees):
    server = start(run=TREES)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        body = {"prompt": "oak", "max_tokens": 80, "sampler": SLOW, "seed": 3}
        whole, stream = pool.submit(server.texts, **body), pool.submit(server.streamed, **body)
        server.wait_for("num_rows_running", 2)
        server.signal(signal.SIGTERM)
        until = time.monotonic() + 5
        while (health := httpx.get(server.url + "/health")).status_code == 200:
            assert time.monotonic() < until
        assert (health.status_code, health.json()["error"]["code"]) == (503, "shutting_down")
        refused = server.post(prompt="oak")
        assert (refused.status_code, refused.json()["error"]["type"]) == (503, "unavailable_error")
        assert "x-should-retry" not in refused.headers
        assert refused.headers["Retry-After"] == "1"
        text = trees.generate("oak", length=80, sampler=SLOW.partition("| ")[2], seed=3)[3:]
        assert (whole.result(), stream.result()) == ([text], {0: text})
    assert server.end() == 0


def test_19_texts_that_take_longer_than_the_grace_end_with_an_error(start):
    server = start("--grace", 0.5, run=TREES)
    body = {"prompt": "oak", "max_tokens": 2_000, "sampler": SLOW}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        whole, stream = pool.submit(server.post, **body), pool.submit(lambda: list(server.stream(**body)))
        server.wait_for("num_rows_running", 2)
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        *events, last = stream.result()
        assert events
        assert last["error"]["code"] == whole.result().json()["error"]["code"] == "shutting_down"
        assert whole.result().status_code == 503
    assert server.end() == 0
    assert 0.4 < time.monotonic() - began < 4


def test_19_a_second_sigterm_ends_at_once(start):
    server = start(run=TREES)
    stream = server.send(prompt="oak", max_tokens=2_000, sampler=SLOW, stream=True)
    server.wait_for("num_rows_running", 1)
    server.signal(signal.SIGTERM)
    server.logged(1, event="shutting down")
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.end(10) == 0
    assert time.monotonic() - began < 3
    assert b'"shutting_down"' in read_all(stream)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_19_ctrl_c_with_an_open_stream_ends_in_two_seconds(start, number):
    server = start("--rows", 1, run=TREES)
    body = {"prompt": "oak", "max_tokens": 2_000, "sampler": SLOW, "stream": True}
    writing = server.send(**body)
    assert writing.recv(12) == b"HTTP/1.1 200"  # its text has begun
    waiting = server.send(**body)
    server.wait_for("num_requests_waiting", 1)
    idle = server.connect()
    began = time.monotonic()
    server.signal(number)
    assert server.end(10) == 128 + number
    assert time.monotonic() - began < 2
    received = read_all(writing)
    assert json.loads(received.split(b"data: ")[-1].split(b"\n")[0])["error"]["code"] == "shutting_down"
    assert waiting.recv(100).startswith(b"HTTP/1.1 503")
    assert idle.recv(1) == b""


def test_19_a_client_that_does_not_read_does_not_keep_the_process(start):
    server = start("--grace", 1, run=TREES)
    stuck = server.connect()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_024)
    content = json.dumps({"prompt": "oak", "n": 128, "max_tokens": 20_000, "stream": True}).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    stuck.sendall(head + b"Content-Length: %d\r\n\r\n" % len(content) + content)
    server.wait_for("num_rows_running", 128)
    time.sleep(1)
    server.signal(signal.SIGTERM)
    assert server.end(15) == 0


def test_without_a_terminal_it_goes_on():
    started = subprocess.Popen(
        ["nohup", sys.executable, "-m", "textgen", "serve", str(TREES), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert started.stdout is not None
    url = started.stdout.readline().strip()
    started.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert httpx.get(url + "/health").status_code == 200
    started.send_signal(signal.SIGTERM)
    assert started.wait(10) == 0


# -- the document


def test_the_document_describes_every_route(server):
    document = httpx.get(server.url + "/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert document["paths"].keys() == {
        "/v1/completions", "/v1/models", "/v1/models/{model}", "/next", "/tokenize", "/detokenize",
        "/tokenizer_info", "/health", "/metrics",
    }  # fmt: skip
    fields = document["components"]["schemas"]["CompletionRequest"]["properties"]
    bounds = {"type": "integer", "minimum": 1, "maximum": 128}
    assert bounds in fields["n"]["anyOf"]


def test_schemathesis_finds_no_fault(start, tmp_path):
    pytest.importorskip("schemathesis")
    server = start("--no-access-log", run=TREES)
    command = [sys.executable, "-m", "schemathesis.cli", "run", server.url + "/openapi.json"]
    # A body may fit its schema and still be refused: a character that the model does not know, n above best_of.
    (tmp_path / "schemathesis.toml").write_text(
        "[checks]\npositive_data_acceptance.enabled = false\n"
        "negative_data_rejection.expected-statuses = [400, 404, 413, 415]\n"
    )
    # A text of the most characters takes seconds. With more examples, its own recursion may fail.
    options = ["--max-examples", "20", "--seed", "1", "--workers", "1", "--request-timeout", "60"]
    done = run(*command, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6_000:]
    assert server.texts(prompt="oak", max_tokens=3)


def test_the_room_has_at_most_twelve_files():
    assert len(list((ROOT / "plugins" / "textgen_serve").glob("*.py"))) <= 12
