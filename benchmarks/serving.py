"""Characters per second and latency of ``textgen serve`` for 1 to 500 clients, compared with the bare batch.

``python -m benchmarks.serving [--quick]`` starts servers on the loopback address: one as it is by default, which writes
itself, and one with a worker per core. Each stream asks for a text, reads it to its end, and asks for the next one.
Beside them, in turns, a process writes as many texts of the same length with ``TextGenerator.generate``, without a
server. All streams send their first request at once, which is shown apart. Their first texts have different lengths, so
that they are out of step from then on, as clients are that know nothing of each other: the claims are about this time,
and about the server with workers; those of the start are about the other one. The client runs on the same machine, so
its CPU time is shown, and what it takes from a server that only replays bytes. Sampling is on; weights are random.
Linux only.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from math import ceil
from pathlib import Path
from statistics import fmean
from typing import Literal, NamedTuple

from benchmarks.command import Findings, Session, notice, run
from benchmarks.harness import ROOT, SETTLE, BenchmarkError, started
from benchmarks.machine import cpu_time, memory_of, seconds_of, usable_cores, with_children
from benchmarks.report import Claim, Figures, Row, Table, quantile
from benchmarks.streams import Drive, drive
from benchmarks.subjects import GRU_1024, LSTM_128, Subject
from benchmarks.textgen_runs import make_runs, writer

BARE, SERVER, REPLAY = "generate, no server", "textgen serve", "a server that replays bytes"
WORKERS = f"textgen serve --workers {usable_cores()}"

#: Characters of a text.
LENGTH = 1_000

#: What the client measures; see :class:`~benchmarks.streams.Drive`.
LATENCIES = {
    "first": "first text",
    "burst": "first text, all requests at once",
    "between": "between two parts",
    "whole": "whole text",
}

#: Of a start: seconds to the first 200 of /health, and megabytes then.
START_SECONDS, START_MEMORY = 1.5, 130


class Load(NamedTuple):
    """A model, clients, and what issue 17 asks for.

    Attributes:
        subject: the model.
        precision: of its export.
        streams: clients at once.
        texts: that each of them asks for, one after the other.
        share: of the bare batch's characters per second, at least.
        first: milliseconds to the first text at the 99th percentile, at most.
    """

    subject: Subject
    precision: Literal["fp32", "int8"]
    streams: int
    texts: int
    share: float
    first: float | None = None

    @property
    def title(self) -> str:
        return f"{self.subject.title}, {self.precision}, {self.streams:,} at once"


LOADS = (
    Load(LSTM_128, "fp32", 1, 20, 0.75),
    Load(LSTM_128, "fp32", 64, 4, 0.60, 50),
    Load(LSTM_128, "fp32", 500, 3, 0.60, 250),
    Load(GRU_1024, "int8", 64, 2, 0.60),
)


class Measured(NamedTuple):
    """The rounds of a load.

    Attributes:
        load: the load.
        table: characters per second of all contenders.
        drives: of each server, one per round.
        bare: CPU seconds of the bare batch per character.
        servers: those of each server.
        client: those of the client of the last one.
    """

    load: Load
    table: Table
    drives: dict[str, list[Drive]]
    bare: float
    servers: dict[str, float]
    client: float


def find(session: Session) -> Findings:
    found = []
    for load in LOADS:
        folder = session.folder / load.subject.title
        if not folder.exists():
            notice(f"{load.subject.title}: making a run and its exports")
            make_runs(load.subject, folder, ["int8" if load.precision == "int8" else "fp32"], session.environment)
        found.append(_measure(load, folder / load.precision, session))
    seconds, memory = _measure_starts(session)
    claims = [claim for each in found for claim in _claims(each)]
    start = f"{LSTM_128.title}: from the start to 200 of /health"
    claims += [
        Claim(start, "at most", START_SECONDS, "seconds", seconds),
        Claim(f"{start}, memory", "at most", START_MEMORY, "MB", [size / 1e6 for size in memory]),
    ]
    return Findings([each.table for each in found], claims, figures=[_latencies(found), _costs(found)])


def _measure(load: Load, path: Path, session: Session) -> Measured:
    """A load in turns: the bare batch, the server, and a server that replays its bytes."""
    notice(load.title)
    subject, streams = load.subject, load.streams
    bare = writer(BARE, path, "onnx", prompt=subject.prompt, batch=streams, length=LENGTH, device="cpu")
    rounds, texts = session.effort.rounds, 2 if session.is_quick else load.texts
    with ExitStack() as stack:
        turns = stack.enter_context(started(bare, session.effort, session.environment))
        own, port = stack.enter_context(serving(path, session))
        many, many_port = stack.enter_context(serving(path, session, workers=usable_cores()))
        servers = {SERVER: (with_children(own), port), WORKERS: (with_children(many), many_port)}
        warm = [_drive(load, port, 1) for _, port in servers.values()]
        replay, replay_port = stack.enter_context(_replaying(warm[0], session.folder))
        drives: dict[str, list[Drive]] = {name: [] for name in servers}
        used, replayed = dict.fromkeys(servers, 0.0), []
        processes = [os.getpid(), turns.identity, replay, *(each for some, _ in servers.values() for each in some)]
        before_all = cpu_time(processes)
        for turn in range(rounds):
            notice(f"round {turn + 1} of {rounds}")
            time.sleep(SETTLE)
            turns.take_one()
            for name, (those, port) in servers.items():
                time.sleep(SETTLE)
                before = seconds_of(those)
                drives[name].append(_drive(load, port, texts))
                used[name] += seconds_of(those) - before
            replayed.append(_drive(load, replay_port, texts, in_step=True))
        after_all = cpu_time(processes)
        rows = [Row(BARE, turns.note, turns.seconds, turns.memory)]
        for name, (those, _) in servers.items():
            rows.append(Row(name, "", _rates(drives[name]), sum(memory_of(each, "VmHWM") for each in those)))
        rows.append(Row(REPLAY, "", _rates(replayed)))
    total = {name: sum(each.total for each in some) for name, some in drives.items()}
    passed, others = (after - before for after, before in zip(after_all, before_all, strict=True))
    share = max(0.0, others / max(1, passed))
    table = Table(load.title, "character", "rate", BARE, rows, share)
    client = sum(each.client for each in drives[WORKERS]) / total[WORKERS]
    costs = {name: used[name] / total[name] for name in servers}
    return Measured(load, table, drives, fmean(turns.cpu), costs, client)


def _drive(load: Load, port: int, texts: int, *, in_step: bool = False) -> Drive:
    """Have each stream ask for a first text, all at once, and then for some texts of the full length."""
    asked = {"prompt": load.subject.prompt, "seed": 0, "ignore_eos": True, "stream": True}
    shares = [1.0 if in_step else (row + 1) / load.streams for row in range(load.streams)]
    lengths = [[ceil(share * LENGTH), *[LENGTH] * texts] for share in shares]
    return drive(port, lambda row, length: asked | {"row": row, "max_tokens": length}, lengths)


def _rates(drives: Sequence[Drive]) -> list[float]:
    """Seconds per character."""
    return [each.seconds / each.characters for each in drives]


@contextmanager
def serving(path: Path, session: Session, *, workers: int = 1) -> Iterator[tuple[int, int]]:
    """``textgen serve`` with a run, in a process of its own: the process and its port.

    Raises:
        BenchmarkError: if it does not start.
    """
    command = [sys.executable, "-m", "textgen", "serve", str(path), "--port", "0", "--no-access-log"]
    command += ["--workers", str(workers)]
    with _process(command, session.environment) as (process, line):
        yield process, int(line.rpartition(":")[2])


@contextmanager
def _replaying(recorded: Drive, folder: Path) -> Iterator[tuple[int, int]]:
    """A server that replays an answer: the process and its port."""
    file = folder / "parts.json"
    file.write_text(json.dumps([base64.b64encode(part).decode() for part in recorded.parts]), encoding="ascii")
    with _process([sys.executable, "-m", "benchmarks.peers.replay_server", str(file)], {}) as (process, line):
        yield process, int(line)


@contextmanager
def _process(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """A process that is killed afterwards, and the first line that it prints."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **environment}
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise BenchmarkError(f"{' '.join(command)} has ended")
            yield process.pid, line.strip()
        finally:
            process.kill()


def _measure_starts(session: Session) -> tuple[list[float], list[int]]:
    """Seconds from the start of the command to the first 200 of /health, and bytes of memory then."""
    path = session.folder / LSTM_128.title / "fp32"
    seconds, memory = [], []
    for turn in range(session.effort.rounds + 1):
        notice(f"start {turn} of {session.effort.rounds}" if turn else "start to warm the caches of the system")
        port = _free_port()
        command = [sys.executable, "-m", "textgen", "serve", str(path), "--port", str(port), "--no-access-log"]
        # Modules are compiled once, as after an installation.
        environment = {**os.environ, **session.environment, "PYTHONDONTWRITEBYTECODE": ""}
        began = time.perf_counter()
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        ) as process:
            try:
                _wait_until_healthy(port, process)
                if turn:
                    seconds.append(time.perf_counter() - began)
                    memory.append(memory_of(process.pid, "VmRSS"))
            finally:
                process.kill()
    return seconds, memory


def _wait_until_healthy(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if connection.recv(100).startswith(b"HTTP/1.1 200 "):
                return
        time.sleep(0.005)
    raise BenchmarkError("textgen serve has ended")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _claims(found: Measured) -> list[Claim]:
    load = found.load
    claims = [
        Claim(
            f"{load.title}, {WORKERS}: characters per second over the bare batch",
            "at least",
            100 * load.share,
            "%",
            [100 * ratio for ratio in found.table.ratios(BARE, WORKERS)],
        )
    ]
    if load.first is not None:
        values = [1e3 * quantile(each.first, 0.99) for each in found.drives[WORKERS]]
        claims.append(
            Claim(f"{load.title}, {WORKERS}: first text, 99th percentile", "at most", load.first, "ms", values)
        )
    return claims


def _latencies(found: Sequence[Measured]) -> Figures:
    rows: dict[str, list[float | None]] = {}
    for each in found:
        for server, drives in each.drives.items():
            for name, what in LATENCIES.items():
                seconds = [value for drive in drives for value in getattr(drive, name)]
                quantiles: list[float | None] = [1e3 * quantile(seconds, share) for share in (0.5, 0.9, 0.99)]
                rows[f"{each.load.title}, {server}: {what}"] = quantiles
    return Figures("Latency seen by the client, of all rounds, ms", ["median", "90 %", "99 %"], rows)


def _costs(found: Sequence[Measured]) -> Figures:
    rows: dict[str, list[float | None]] = {}
    for each in found:
        drives = each.drives[WORKERS]
        parts = sum(len(drive.between) + len(drive.whole) for drive in drives)
        rate = parts / sum(drive.total for drive in drives) * LENGTH
        rows[each.load.title] = [*(1e6 * seconds for seconds in (each.bare, *each.servers.values(), each.client)), rate]
    columns = [f"{name}, CPU µs per character" for name in (BARE, SERVER, WORKERS, "its client")]
    return Figures("What it costs, and the parts that the client receives", [*columns, "parts per text"], rows)


if __name__ == "__main__":
    run("serving", __doc__, find)
