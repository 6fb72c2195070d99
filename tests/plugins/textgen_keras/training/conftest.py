"""Commands in processes of their own, forked from one process that imports TensorFlow once for all of them."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

#: Each line that it reads is a request to run a command in a child, or to wait for a child. TensorFlow survives a fork
#: only before its first operation, and no process survives one with threads; both are checked before each fork.
SERVER = """
import gc, json, os, sys, threading
from textgen_keras.libraries import require_tensorflow
require_tensorflow()
import matplotlib.backends.backend_agg, matplotlib.figure
import textgen.cli, textgen_keras.training.loop, textgen_keras.kernels.cross_entropy
from tensorflow.python.eager import context

gc.freeze()  # or each child would copy the memory of what is imported
for line in sys.stdin:
    request = json.loads(line)
    if "wait" in request:
        print(os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1]), flush=True)
        continue
    assert threading.active_count() == 1 and context.context()._context_handle is None
    child = os.fork()
    if child:
        print(child, flush=True)
        continue
    os.chdir(request["folder"])
    os.environ.update(request["variables"])
    for number, name, flags in ((0, os.devnull, os.O_RDONLY), (1, "out", os.O_WRONLY), (2, "err", os.O_WRONLY)):
        os.dup2(os.open(name, flags | (os.O_CREAT | os.O_TRUNC) * (number > 0)), number)
    sys.path.insert(0, request["folder"])
    sys.argv = ["textgen", *request["arguments"]]
    textgen.cli.main()
os._exit(0)
"""


class Command:
    """A command that runs in a child of the server.

    Attributes:
        pid: of its process.
        folder: its working directory, which also is on its path.
    """

    def __init__(self, server: "Server", pid: int, folder: Path) -> None:
        self._server = server
        self.pid, self.folder = pid, folder

    def wait(self) -> int:
        """Wait for its end, for five minutes at most; its exit code, or minus the number of the signal."""
        overdue = threading.Timer(300, os.kill, [self.pid, signal.SIGKILL])
        overdue.start()
        try:
            return self._server.ask({"wait": self.pid})
        finally:
            overdue.cancel()

    def output(self) -> str:
        return (self.folder / "out").read_text()

    def errors(self) -> str:
        return (self.folder / "err").read_text()


class Server:
    def __init__(self) -> None:
        environment = os.environ | {"TEXTGEN_PLUGINS": "", "CUDA_VISIBLE_DEVICES": "-1"}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=pipe, stdout=pipe, text=True, env=environment
        )

    def ask(self, request: dict[str, object]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, folder: Path, *arguments: str, **variables: str) -> Command:
        """Start ``textgen`` in a folder; keywords are environment variables."""
        request: dict[str, object] = {"folder": str(folder), "arguments": arguments, "variables": variables}
        return Command(self, self.ask(request), folder)

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()
