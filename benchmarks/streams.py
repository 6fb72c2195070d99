"""A client of a completions server that costs little: many streams in one thread, on bare sockets.

It runs on the machine that it measures, so its time is taken from the server: it looks at the bytes of an event only
to see whether there is text, and reads the texts when all have come.
"""

from __future__ import annotations

import json
import re
import select
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.harness import BenchmarkError

#: How an answer in chunks ends, and what each event with text begins with.
END, EVENT = b"\r\n0\r\n\r\n", b"data: {"

#: Seconds without a byte after which the server is taken for dead.
PATIENCE = 60


@dataclass
class Drive:
    """What came of some requests.

    Attributes:
        seconds: from the first request to the end of the last answer.
        client: CPU seconds of the client.
        characters: of all texts.
        burst: seconds from each request to its first text, for the requests that all streams begin with at once.
        first: the same for all later ones.
        between: seconds between two parts of a text that were received one after the other.
        whole: seconds from each request to the end of its text.
        parts: of one answer, as they were received.
    """

    seconds: float = 0.0
    client: float = 0.0
    characters: int = 0
    burst: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)


class _Stream:
    """A connection, on which texts are asked for one after the other."""

    def __init__(self, port: int, request: bytes, texts: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answers: list[list[bytes]] = []
        self.left = texts
        self.began = self.last = 0.0
        self._request = request

    def ask(self) -> None:
        self.left -= 1
        self.last = 0.0
        self.answers.append([])
        self.began = time.perf_counter()
        self.socket.sendall(self._request)

    def receive(self, drive: Drive) -> bool:
        """Take what has come; returns whether it is the end of an answer."""
        data = self.socket.recv(2**18)
        now = time.perf_counter()
        parts = self.answers[-1]
        parts.append(data)
        if EVENT in data:
            if self.last:
                drive.between.append(now - self.last)
            else:
                (drive.first if len(self.answers) > 1 else drive.burst).append(now - self.began)
            self.last = now
        is_end = (data if len(data) >= len(END) else b"".join(parts[-3:])).endswith(END)
        if is_end:
            drive.whole.append(now - self.began)
        elif not data:
            raise BenchmarkError("the server has closed a connection")
        return is_end


def drive(port: int, body: Callable[[int], Mapping[str, Any]], *, streams: int, texts: int, length: int) -> Drive:
    """Have texts written by a server on this machine: each stream asks for one, reads it to its end, asks again.

    Args:
        port: of the server.
        body: of the requests of a stream, by its number.
        streams: at once.
        texts: of each stream.
        length: characters of each text, which are checked.

    The first requests come all at once; later ones whenever a text has ended.

    Raises:
        BenchmarkError: if an answer is not such a text.
    """
    found = Drive()
    opened = {each.socket.fileno(): each for each in (_Stream(port, request(body(i)), texts) for i in range(streams))}
    poll = select.epoll()
    for number in opened:
        poll.register(number, select.EPOLLIN)
    found.client, began = -time.process_time(), time.perf_counter()
    for stream in opened.values():
        stream.ask()
    busy = streams
    while busy:
        ready = poll.poll(PATIENCE)
        if not ready:
            raise BenchmarkError(f"the server has sent nothing for {PATIENCE} seconds")
        for number, _ in ready:
            stream = opened[number]
            if stream.receive(found):
                if stream.left:
                    stream.ask()
                else:
                    busy -= 1
    found.seconds = time.perf_counter() - began
    found.client += time.process_time()
    poll.close()
    for stream in opened.values():
        stream.socket.close()
        found.characters += sum(_check(b"".join(answer), length) for answer in stream.answers)
    found.parts = next(iter(opened.values())).answers[0]
    return found


def request(body: Mapping[str, Any], *, closes: bool = False) -> bytes:
    """A request of POST /v1/completions, after which the server closes the connection if asked to."""
    content = json.dumps(body).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
    head += "Content-Type: application/json\r\n" + "Connection: close\r\n" * closes
    return head.encode() + b"\r\n" + content


def text_of(answer: bytes) -> str:
    """The text of an answer that is a stream."""
    events = [json.loads(event) for event in re.findall(rb"^data: (\{.*\})\r?$", answer, re.MULTILINE)]
    return "".join(choice["text"] for event in events for choice in event["choices"])


def _check(answer: bytes, length: int) -> int:
    """The number of characters of an answer, which must be those that were asked for."""
    if not answer.startswith(b"HTTP/1.1 200 ") or len(text_of(answer)) != length:
        raise BenchmarkError(f"the answer is not a text of {length:,} characters:\n{answer[:2000].decode()}")
    return length
