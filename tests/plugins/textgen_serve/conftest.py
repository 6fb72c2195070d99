import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import textgen
from benchmarks.streams import request
from textgen import TextGenerator

for needed in ("starlette", "uvicorn", "prometheus_client", "httpx", "openai"):
    pytest.importorskip(needed)

import httpx  # noqa: E402
import openai  # noqa: E402

ROOT = Path(__file__).parents[3]
RECORDED = ROOT / "tests" / "recorded"

#: Samplers of a plugin: one that takes its time, one that cannot draw, and one that ends the thread.
SAMPLERS = '''
import time
from pydantic import Field
from textgen import Sampler, hookimpl
from textgen.options import Options

class SlowOptions(Options):
    milliseconds: float = Field(10, description="Per step.")

class Slow(Sampler):
    Options = SlowOptions
    def transform(self, logits, parameters, seen):
        time.sleep(float(parameters["milliseconds"].max()) / 1000)
        return logits

class Faulty(Sampler):
    def transform(self, logits, parameters, seen):
        raise ZeroDivisionError("a sampler with a mistake")

class LateOptions(Options):
    ids: float = Field(9, description="Ids before it fails.")

class Late(Sampler):
    Options = LateOptions
    uses_history = True
    def transform(self, logits, parameters, seen):
        if (seen.sum(axis=1) > parameters["ids"][:, 0]).any():
            raise ZeroDivisionError("a sampler with a mistake")
        return logits

class Death(BaseException):
    """No thread survives it."""

class Deadly(Sampler):
    def transform(self, logits, parameters, seen):
        raise Death("of the engine")

@hookimpl
def textgen_register_samplers(register):
    register("slow", Slow, "Takes its time.")
    register("faulty", Faulty, "Cannot draw.")
    register("late", Late, "Cannot draw for long.")
    register("deadly", Deadly, "Ends the thread.")
'''

#: A chain that takes some milliseconds per character.
SLOW = "slow(20) | temperature(0.8) | multinomial"


class ServerProcess:
    """``textgen serve`` in a process of its own, on a free port.

    Args:
        arguments: of the command.
        plugin: the file with the samplers.
        variables: of the environment.
    """

    def __init__(self, *arguments: object, plugin: Path, **variables: str) -> None:
        command = [sys.executable, "-m", "textgen", "serve", *map(str, arguments), "--plugin", str(plugin)]
        self.process = subprocess.Popen(
            [*command, "--port", "0"],
            env=os.environ | {"TEXTGEN_STRICT": "0"} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self.process.stdout.readline().strip()
        assert self.url, self.process.wait(10) and self.lines
        self.port = int(self.url.rpartition(":")[2])

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(iter(self.process.stderr.readline, ""))

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the log."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def logged(self, count: int, **fields: object) -> list[dict[str, Any]]:
        """The lines of the log with some fields; waits for so many."""
        until = time.monotonic() + 5
        while True:
            found = [line for line in self.log if all(line.get(name) == value for name, value in fields.items())]
            if len(found) == count:
                return found
            assert time.monotonic() < until, found
            time.sleep(0.02)

    def post(self, path: str = "/v1/completions", **body: Any) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=60)

    def complete(self, **body: Any) -> dict[str, Any]:
        """The answer to a completion that succeeds."""
        answer = self.post(**body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def texts(self, **body: Any) -> list[str]:
        return [choice["text"] for choice in self.complete(**body)["choices"]]

    def stream(self, **body: Any) -> Iterator[dict[str, Any]]:
        """The events of a stream, without its end."""
        with httpx.stream("POST", self.url + "/v1/completions", json=body | {"stream": True}, timeout=60) as answer:
            assert answer.status_code == 200, answer.read()
            for line in answer.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    yield json.loads(line[6:])

    def streamed(self, **body: Any) -> dict[int, str]:
        """The joined texts of a stream by index."""
        texts: dict[int, str] = {}
        for event in self.stream(**body):
            for choice in event["choices"]:
                texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
        return texts

    def client(self, **options: Any) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url + "/v1", **{"api_key": "any", **options})

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def send(self, **body: Any) -> socket.socket:
        """A connection on which a completion was asked for."""
        connection = self.connect()
        connection.sendall(request(body))
        return connection

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = httpx.get(self.url + "/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"textgen:{name}{{"))

    def wait_for(self, name: str, value: float, seconds: float = 10) -> None:
        """Wait until a metric has a value."""
        until = time.monotonic() + seconds
        while (found := self.metric(name)) != value:
            assert time.monotonic() < until, f"{name} is {found}, not {value}"
            time.sleep(0.02)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, seconds: float = 30) -> int:
        """Wait for the process; returns its exit code."""
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGINT)
        try:
            self.end(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def read_until(connection: socket.socket, what: bytes) -> bytes:
    """What comes on a connection until something has come."""
    received = b""
    while what not in received:
        part = connection.recv(65_536)
        assert part, received
        received += part
    return received


def read_all(connection: socket.socket) -> bytes:
    """What comes on a connection until its end."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with samplers to test with."""
    file = tmp_path_factory.mktemp("plugin") / "test_samplers.py"
    file.write_text(SAMPLERS)
    return file


Start = Callable[..., ServerProcess]


@pytest.fixture
def start(plugin: Path) -> Iterator[Start]:
    """Starts servers, which end with the test: ``start("--rows", 4)``; by default of the run ``gru-names``."""
    started: list[ServerProcess] = []

    def start(*arguments: object, run: object = RECORDED / "gru-names", **variables: str) -> ServerProcess:
        started.append(ServerProcess(run, *arguments, plugin=plugin, **variables))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture(scope="module")
def server(plugin: Path) -> Iterator[ServerProcess]:
    """A server of three runs, the first of which ends its texts itself, for all tests of a file."""
    server = ServerProcess(*(RECORDED / name for name in ("gru-names", "gru-trees", "lstm-trees")), plugin=plugin)
    yield server
    server.close()


@pytest.fixture(scope="module")
def pieces_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with labels, whose tokens are pieces of words, and at times bytes of a character."""
    out = tmp_path_factory.mktemp("runs") / "pieces"
    texts = [f"{start} ö 😀 {end}" for start in ("the oak", "an elm") for end in ("stands", "fell", "日本")] * 20
    labels = ["tree", "wood"] * 60
    textgen.train(
        text=texts,
        labels=labels,
        model="ngram",
        tokenizer="byte-bpe",
        settings={"tokenizer": {"vocab_size": 290}, "training": {"drop_duplicates": False}},
        out=out,
    )
    return out


@pytest.fixture(scope="module")
def pieces(plugin: Path, pieces_run: Path) -> Iterator[ServerProcess]:
    """A server of this run."""
    server = ServerProcess(pieces_run, plugin=plugin)
    yield server
    server.close()


@pytest.fixture(scope="session")
def names() -> TextGenerator:
    """The first run."""
    return textgen.load(RECORDED / "gru-names")


@pytest.fixture(scope="session")
def trees() -> TextGenerator:
    """The third run: its texts end at their length only."""
    return textgen.load(RECORDED / "lstm-trees")
