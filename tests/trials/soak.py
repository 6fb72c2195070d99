"""Clients of a server that connect and leave at random moments: nothing may be left of them, no text lost or mixed up.

    python -m tests.trials.soak --clients 10000 --seed 1

Some clients read a text to its end, as a whole or as a stream, and compare it with the one that was written alone; some
leave in the middle, before their answer begins, or with half a request; now and then a process with many streams is
killed. Before and after, ``/metrics`` and ``/proc`` tell what the server holds: rows, requests, tasks, descriptors and
memory. Prints the figures; exit code 1 if anything was wrong. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import textgen
from benchmarks.streams import request
from benchmarks.streams import text_of as text_of_events

RUN = Path(__file__).parents[1] / "recorded" / "lstm-trees"

#: Clients at a time, rows that the server writes side by side, and streams of a process that is killed.
AT_ONCE, ROWS, VICTIM_STREAMS = 100, 64, 20

#: Clients per process that is killed, and seconds until what the server holds must be what it was.
CLIENTS_PER_KILL, SECONDS_TO_SETTLE = 500, 20

#: Seconds after which a text is lost that has not come.
PATIENCE = 600

#: Megabytes that the server's memory may grow by, since the allocator keeps some: two kilobytes a client would be more.
MEGABYTES = 8

CHAINS: tuple[dict[str, Any], ...] = (
    {},
    {"temperature": 1.2},
    {"temperature": 0},
    {"top_k": 5, "temperature": 0.9},
    {"top_p": 0.8},
    {"repetition_penalty": 1.2, "min_p": 0.05},
)

LENGTHS = (1, 30, 300, 1_500)


class Asked(NamedTuple):
    """A request, and the text that it must get.

    Attributes:
        body: the request, without ``stream``.
        text: as it is written alone.
    """

    body: dict[str, Any]
    text: str


class Held(NamedTuple):
    """What a server holds.

    Attributes:
        rows: that are written.
        requests: that are written or wait.
        tasks: of the event loop.
        descriptors: that are open.
        megabytes: of memory.
    """

    rows: int
    requests: int
    tasks: int
    descriptors: int
    megabytes: float


def make_requests() -> list[Asked]:
    """Requests of every chain and length, with their texts."""
    generator = textgen.load(RUN)
    found = []
    for seed, (chain, length) in enumerate((chain, length) for chain in CHAINS for length in LENGTHS):
        prompt = ("oak", "a", "the tree")[seed % 3]
        text = generator.generate(prompt, length=length, seed=seed, **chain)
        found.append(Asked({"prompt": prompt, "max_tokens": length, "seed": seed, **chain}, text[len(prompt) :]))
    return found


@contextmanager
def serving() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server of the run, and its port."""
    command = [sys.executable, "-m", "textgen", "serve", str(RUN), "--port", "0", "--rows", str(ROWS)]
    server = subprocess.Popen([*command, "--no-access-log"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield server, int(server.stdout.readline().rpartition(":")[2])
    finally:
        server.terminate()
        server.wait(30)


def text_of(answer: bytes) -> str:
    """The text of an answer, or the part of it that has come."""
    head, _, content = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ValueError(f"the answer is {answer[:300]!r}")
    if b"event-stream" not in head:
        return str(json.loads(content)["choices"][0]["text"])
    return text_of_events(content)


class Crowd:
    """The clients.

    Args:
        port: of the server.
        requests: that they choose from.
        drawn: what they do, and when.

    Attributes:
        counts: of the clients, by what they did.
        failures: a line each.
    """

    def __init__(self, port: int, requests: Sequence[Asked], drawn: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self._port = port
        self._requests = requests
        self._drawn = drawn

    async def come(self, count: int) -> None:
        """Let clients come and go, some at a time, and kill processes in between."""
        waiting = iter(range(count))
        kills = self._drawn.sample(range(count), max(1, count // CLIENTS_PER_KILL))

        async def one_after_the_other() -> None:
            for number in waiting:
                if number in kills:
                    await self._kill()
                await self._come()

        await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))

    async def _come(self) -> None:
        asked, drawn = self._drawn.choice(self._requests), self._drawn
        kind = drawn.choice(["whole", "stream", "stream", "leaves a stream", "leaves", "half a request", "nothing"])
        content = request(asked.body | {"stream": "stream" in kind}, closes=True)
        if kind == "half a request":
            content = content[: drawn.randrange(len(content))]
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                if kind != "nothing":
                    writer.write(content)
                if kind in ("whole", "stream"):
                    self._check(kind, asked, await asyncio.wait_for(reader.read(-1), PATIENCE))
                elif kind == "leaves a stream":
                    answer = await self._read_some(reader)
                    if b"data: " in answer:
                        self._check_part(asked, answer)
                else:
                    await asyncio.sleep(drawn.expovariate(1 / 0.02))
            finally:
                if drawn.random() < 0.5:
                    writer.transport.abort()
                else:
                    writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()
        except Exception as error:
            self._fail(kind, asked, f"{type(error).__name__}: {error}")
        self.counts[kind] += 1

    async def _read_some(self, reader: asyncio.StreamReader) -> bytes:
        """Some parts of an answer, for a moment."""
        answer = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drawn.expovariate(1 / 0.05)):
                for _ in range(self._drawn.randrange(8)):
                    answer += await reader.read(2**16)
        return answer

    def _check(self, kind: str, asked: Asked, answer: bytes) -> None:
        text = text_of(answer)
        if text != asked.text:
            self._fail(kind, asked, f"got {text!r} instead of {asked.text!r}")

    def _check_part(self, asked: Asked, answer: bytes) -> None:
        text = text_of(answer[: answer.rfind(b"\n\n") + 1])
        if not asked.text.startswith(text):
            self._fail("leaves a stream", asked, f"got {text!r} of {asked.text!r}")

    def _fail(self, kind: str, asked: Asked, what: str) -> None:
        self.failures.append(f"{kind}, {asked.body}: {what[:500]}")

    async def _kill(self) -> None:
        """Start a process with many streams, and kill it while it reads."""
        command = [sys.executable, "-m", "tests.trials.soak", "--victim", str(self._port)]
        victim = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        assert victim.stdout is not None
        if not await victim.stdout.readline():
            self.failures.append("a process that was to be killed ended before")
        await asyncio.sleep(self._drawn.random() / 10)
        with suppress(ProcessLookupError):
            victim.send_signal(signal.SIGKILL)
        await victim.wait()
        self.counts["killed"] += VICTIM_STREAMS


async def be_killed(port: int) -> None:
    """Read from many streams until this process is killed; prints a line once each of them has text."""
    streams = []
    for number in range(VICTIM_STREAMS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request({"prompt": "oak", "max_tokens": 100_000, "seed": number, "stream": True}, closes=True))
        streams.append((reader, writer))  # without its writer, a stream is closed
    for reader, _ in streams:
        await reader.readuntil(b"data: ")
    print("reading", flush=True)
    while True:
        await asyncio.gather(*(reader.read(2**16) for reader, _ in streams))


async def held(server: int, port: int) -> Held:
    """What a server holds now, but for the connection that asks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    shown = (await reader.read(-1)).decode()
    writer.close()

    def metric(name: str) -> int:
        return sum(
            int(float(value)) for value in re.findall(rf"^textgen:{name}(?:{{.*}})? (\S+)$", shown, re.MULTILINE)
        )

    process = Path(f"/proc/{server}")
    pages = int((process / "statm").read_text().split()[1])
    return Held(
        metric("num_rows_running"),
        metric("num_requests_running") + metric("num_requests_waiting"),
        metric("num_tasks"),
        len(list((process / "fd").iterdir())),
        pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
    )


def is_as_before(before: Held, now: Held) -> bool:
    """Whether a server holds no more than before."""
    return now[:-1] == before[:-1] and now.megabytes - before.megabytes <= MEGABYTES


async def settled(server: int, port: int, before: Held) -> Held:
    """What a server holds once it holds no more than before, or after some seconds."""
    until = time.monotonic() + SECONDS_TO_SETTLE
    while not is_as_before(before, now := await held(server, port)) and time.monotonic() < until:
        await asyncio.sleep(0.2)
    return now


async def _trial(server: subprocess.Popen[str], port: int, clients: int, seed: int) -> tuple[list[str], list[str]]:
    crowd = Crowd(port, make_requests(), random.Random(seed))
    await asyncio.sleep(0.5)
    idle = await held(server.pid, port)
    # Half of them warm the server up: graphs are built, threads chosen, and the allocator takes what it keeps.
    await crowd.come(clients // 2)
    half = await settled(server.pid, port, idle._replace(megabytes=math.inf))
    before = idle._replace(megabytes=half.megabytes)
    await crowd.come(clients - clients // 2)
    after = await settled(server.pid, port, before)
    failures = crowd.failures
    if server.poll() is not None:
        failures.append(f"the server has ended with exit code {server.returncode}")
    if not is_as_before(before, after):
        failures.append(f"the server should hold {before}, and holds {after}")
    did = ", ".join(f"{count:,} {kind}" for kind, count in crowd.counts.most_common())
    return failures, [f"clients: {did}", f"idle:  {idle}", f"half:  {half}", f"after: {after}"]


def trial(*, clients: int, seed: int, minutes: float) -> tuple[list[str], list[str]]:
    """Let clients come and go.

    Args:
        clients: their number.
        seed: of what they do.
        minutes: that it may take.

    Returns:
        What was wrong, and the figures, a line each.
    """
    with serving() as (server, port):
        try:
            return asyncio.run(asyncio.wait_for(_trial(server, port, clients, seed), 60 * minutes))
        except TimeoutError:
            return [f"the clients were not done after {minutes:g} minutes"], []


def main() -> int:
    """Runs the trial, and prints its figures."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--victim", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.victim:
        asyncio.run(be_killed(arguments.victim))
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TEXTGEN_CACHE_DIR"] = cache
        failures, figures = trial(clients=arguments.clients, seed=arguments.seed, minutes=arguments.minutes)
    print(*figures, *failures[:100], sep="\n")
    print(f"{arguments.clients:,} clients, {len(failures)} failures, {time.perf_counter() - begun:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
