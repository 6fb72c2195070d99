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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks.harness import BenchmarkError

#: How an answer in chunks ends, and what each event with text begins with.
END, EVENT = b"\r\n0\r\n\r\n", b"data: {"

#: Seconds without a byte after which the server is taken for dead.
PATIENCE = 60


@dataclass
class Drive:
    """What came of some requests.

    Attributes:
        seconds: in which all streams were busy and out of step: from the end of the last of their first texts to the
            end of the last text of the stream that was done first.
        characters: that came in this time.
        client: CPU seconds of the client, from the first request to the last answer.
        total: characters of all texts.
        burst: seconds from each request to its first text, for the requests that all streams begin with at once.
        first: the same for all later ones.
        between: seconds between two parts of a text that were received one after the other.
        whole: seconds from each request to the end of its text.
        parts: of the last answer of a stream, as they were received.
    """

    seconds: float = 0.0
    characters: int = 0
    client: float = 0.0
    total: int = 0
    burst: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)


class _Answer(NamedTuple):
    """An answer as it came: the characters that were asked for, its parts, and when each of them came."""

    length: int
    parts: list[bytes]
    times: list[float]


class _Stream:
    """A connection, on which texts are asked for one after the other."""

    def __init__(self, port: int, requests: Sequence[tuple[int, bytes]]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answers: list[_Answer] = []
        self.left = list(requests)
        self.began = self.last = 0.0

    def ask(self) -> None:
        length, request = self.left.pop(0)
        self.last = 0.0
        self.answers.append(_Answer(length, [], []))
        self.began = time.perf_counter()
        self.socket.sendall(request)

    def receive(self, drive: Drive) -> bool:
        """Take what has come; returns whether it is the end of an answer."""
        data = self.socket.recv(2**18)
        now = time.perf_counter()
        _, parts, times = self.answers[-1]
        parts.append(data)
        times.append(now)
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


def drive(port: int, body: Callable[[int, int], Mapping[str, Any]], lengths: Sequence[Sequence[int]]) -> Drive:
    """Have texts written by a server on this machine: each stream asks for one, reads it to its end, asks again.

    The first requests come all at once; later ones whenever a text has ended.

    Args:
        port: of the server.
        body: of a request, by the number of its stream and the characters that it asks for.
        lengths: by stream, the characters of its texts, which are checked; two texts at least.

    Raises:
        BenchmarkError: if an answer is not such a text.
    """
    found = Drive()
    opened: dict[int, _Stream] = {}
    for row, own in enumerate(lengths):
        stream = _Stream(port, [(length, request(body(row, length))) for length in own])
        opened[stream.socket.fileno()] = stream
    poll = select.epoll()
    for number in opened:
        poll.register(number, select.EPOLLIN)
    found.client = -time.process_time()
    for stream in opened.values():
        stream.ask()
    busy = len(opened)
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
    found.client += time.process_time()
    poll.close()
    for stream in opened.values():
        stream.socket.close()
    _count(found, list(opened.values()))
    return found


def _count(found: Drive, streams: Sequence[_Stream]) -> None:
    """Check the texts, and count the characters that came while all streams were busy."""
    begin = max(stream.answers[0].times[-1] for stream in streams)
    end = min(stream.answers[-1].times[-1] for stream in streams)
    found.seconds = end - begin
    for stream in streams:
        for answer in stream.answers:
            _check(b"".join(answer.parts), answer.length)
            found.total += answer.length
            # An event is sent in one piece, so the end of a part is the end of an event.
            early, late = (_received(answer, until) for until in (begin, end))
            found.characters += late - early
    found.parts = streams[0].answers[-1].parts


def _received(answer: _Answer, until: float) -> int:
    """The characters that had come by a time."""
    if not answer.times or until < answer.times[0]:
        return 0
    if until >= answer.times[-1]:
        return answer.length
    count = sum(when <= until for when in answer.times)
    return len(text_of(b"".join(answer.parts[:count])))


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


def _check(answer: bytes, length: int) -> None:
    if not answer.startswith(b"HTTP/1.1 200 ") or len(text_of(answer)) != length:
        raise BenchmarkError(f"the answer is not a text of {length:,} characters:\n{answer[:2000].decode()}")
