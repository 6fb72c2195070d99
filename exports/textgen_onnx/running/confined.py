"""A session in a process of its own, for a graph that nobody vouches for: it can be stopped, and its memory is bounded.

The process is given the graph and then feeds through its standard input, and answers through its standard output, in
messages of a JSON header and raw arrays, so that nothing which the graph may have done to it reaches the caller as
code. It ends when its standard input does, even in the middle of a run: none is left when the caller is killed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from textgen import usable_cores
from textgen.errors import ArtifactError, UnavailableError

#: Bytes that a graph may use: this, and a few copies of the graph itself.
MEMORY, COPIES = 2**29, 6

#: Threads inside an operator, at most: the stack of each counts as memory.
MOST_THREADS = 8

#: The largest header of a message, in bytes.
LARGEST_HEADER = 2**20

#: The dtypes of arrays in messages.
DTYPES = ("float16", "float32", "float64", "int32", "int64", "bool")


class ConfinedSession:
    """Runs a graph in a process of its own, which is started when it is needed.

    Args:
        graph: serialised.
        name: of its file, for errors.

    Raises:
        ArtifactError: if ONNX Runtime cannot read the graph within the memory.
        UnavailableError: if no process can be started.
    """

    def __init__(self, graph: bytes, name: str) -> None:
        self._graph, self._name = graph, name
        self._memory = MEMORY + COPIES * len(graph)
        self._lock = threading.Lock()
        self._stop: weakref.finalize[Any, Any] | None = None
        self._owner = 0
        with self._lock:
            self._start()

    def get_inputs(self) -> list[Any]:
        """See the session of ONNX Runtime."""
        return self._inputs

    def get_outputs(self) -> list[Any]:
        """See the session of ONNX Runtime."""
        return self._outputs

    def run(self, names: Sequence[str], feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """See the session of ONNX Runtime.

        Raises:
            ArtifactError: if the graph fails, or needs more memory than it may use.
        """
        with self._lock:
            # It may have been stopped, or belong to the process that this one was forked from.
            if self._stop is None or self._owner != os.getpid() or self._process.poll() is not None:
                self._start()
            _, found = self._ask({"outputs": list(names)}, feeds)
        if list(found) != list(names):
            raise ArtifactError(f"{self._name} gives other outputs than those asked for")
        return list(found.values())

    def _start(self) -> None:
        options = {"name": self._name, "memory": self._memory, "threads": MOST_THREADS}
        program = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches the caller alone, which then ends the process
            )
        except (OSError, ValueError) as error:
            raise UnavailableError(f"no process can be started to run {self._name} in: {error}") from None
        self._owner = os.getpid()
        self._stop = weakref.finalize(self, _end, self._process, self._owner)
        header, _ = self._ask(options, {"graph": np.frombuffer(self._graph, np.uint8)})
        self._inputs, self._outputs = ([_value(each) for each in header.get(key, ())] for key in ("inputs", "outputs"))

    def _ask(
        self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Send a message and wait for the answer; the process is ended if that fails, or is interrupted."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            send(process.stdin, header, arrays)
            answer, found = receive(process.stdout, MEMORY)
        except (EOFError, OSError, ValueError):
            self._kill()
            code = process.returncode
            ended = f"signal {-code}" if code < 0 else f"code {code}"
            raise ArtifactError(
                f"{self._name} was stopped: its process ended with {ended}; {_may_use(self._memory)}"
            ) from None
        except BaseException:
            self._kill()
            raise
        if "error" in answer:
            raise ArtifactError(" ".join(str(answer["error"]).split()))
        return answer, found

    def _kill(self) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:
        return  # a fork of the process that started it, and that still needs it
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        with suppress(OSError):  # what was not sent yet cannot be
            stream.close()


def _value(described: Any) -> Any:
    """An input or output as a session describes it."""
    name, kind, shape = described
    return SimpleNamespace(name=str(name), type=str(kind), shape=list(shape))


def send(stream: IO[bytes], header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a message."""
    described = [[name, array.dtype.name, list(array.shape)] for name, array in arrays.items()]
    head = json.dumps({**header, "arrays": described}).encode()
    stream.write(len(head).to_bytes(4, "little") + head)
    for array in arrays.values():
        stream.write(np.ascontiguousarray(array).tobytes())
    stream.flush()


def receive(stream: IO[bytes], most: int) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a message whose arrays have at most so many bytes.

    Raises:
        EOFError: if the stream ends.
        ValueError: if what comes is not a message.
    """
    length = int.from_bytes(_exactly(stream, 4), "little")
    if length > LARGEST_HEADER:
        raise ValueError("the header is too long")
    header = json.loads(_exactly(stream, length))
    arrays: dict[str, NDArray[Any]] = {}
    for name, dtype, shape in header.pop("arrays"):
        if dtype not in (*DTYPES, "uint8") or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError("it is not an array of numbers")
        size = prod(shape) * np.dtype(dtype).itemsize
        if size > most:
            raise ValueError("the arrays are too large")
        most -= size
        arrays[str(name)] = np.frombuffer(bytearray(_exactly(stream, size)), dtype).reshape(shape)
    return header, arrays


def _exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def serve() -> None:
    """The program of the process: opens the graph that it is sent, and runs it on each feed until its input ends."""
    import queue
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed here is not a message
    messages: queue.Queue[tuple[dict[str, Any], dict[str, NDArray[Any]]]] = queue.Queue()

    def listen() -> None:
        try:
            while True:
                messages.put(receive(sys.stdin.buffer, 2**63))
        except BaseException:
            os._exit(1)  # the caller has ended, while a run may be under way

    from textgen_onnx.running.session import open_session, reason_of

    threading.Thread(target=listen, daemon=True).start()
    options, arrays = messages.get()
    graph = arrays.pop("graph").tobytes()
    _limit_memory(options["memory"])
    try:
        threads = min(options["threads"], usable_cores())
        session = open_session(graph, options["name"], "cpu", threads=threads, optimized=False)
    except BaseException as error:
        send(output, {"error": str(error) or type(error).__name__}, {})
        return
    send(output, {"inputs": _described(session.get_inputs()), "outputs": _described(session.get_outputs())}, {})
    while True:
        request, feeds = messages.get()
        try:
            found = dict(zip(request["outputs"], session.run(request["outputs"], feeds), strict=True))
        except BaseException as error:
            failed = f"{options['name']} cannot be run: {reason_of(error)}; {_may_use(options['memory'])}"
            send(output, {"error": failed}, {})
        else:
            send(output, {}, found)


def _described(values: Sequence[Any]) -> list[Any]:
    """Inputs or outputs as JSON; the inverse of :func:`_value`."""
    return [[value.name, value.type, [size if type(size) is int else None for size in value.shape]] for value in values]


def _may_use(memory: int) -> str:
    return f"it may use {memory >> 20} MB"


def _limit_memory(more: int) -> None:
    """Let this process use so many bytes more than it does now, where the system can be told and tells what it uses."""
    try:
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (used + more, used + more))
    except (ImportError, OSError, ValueError):
        pass
