"""Measures contenders in turns (A B C A B C), each in its own process, which sleeps while the others run.

Separate processes, because the thread pools of ONNX Runtime, TensorFlow, PyTorch and OpenBLAS keep spinning for a while
after a call: two of them in one process slow each other down by a factor of five on two cores. Turns, because the speed
of a shared machine changes: the contenders of one round run under similar conditions, and ratios are taken per round.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.machine import cpu_time
from benchmarks.report import Row

ROOT = Path(__file__).resolve().parent.parent

#: Seconds between turns. The slowest thread pools need about a tenth of a second to go to sleep.
SETTLE = 0.2


WayT = TypeVar("WayT")


class BenchmarkError(Exception):
    """A contender that cannot be measured; the message names it and the reason."""


@dataclass(frozen=True)
class Work:
    """A job that can be repeated.

    Attributes:
        piece: does a part of the job and returns the number of items done, such as characters written.
        note: a choice made during preparation, such as the number of threads.
    """

    piece: Callable[[], int]
    note: str = ""


@dataclass(frozen=True)
class Contender:
    """One way of doing a job.

    Attributes:
        name: shown in tables.
        factory: ``"package.module:function"``, called in the contender's process; returns a :class:`Work`.
        arguments: of the factory, as JSON values.
    """

    name: str
    factory: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Effort:
    """The duration of a measurement.

    Attributes:
        rounds: the number of turns of each contender.
        turn_seconds: the approximate duration of a turn; if one piece of work takes longer, a turn is one piece.
    """

    rounds: int
    turn_seconds: float


FULL, QUICK = Effort(rounds=9, turn_seconds=0.5), Effort(rounds=3, turn_seconds=0.1)


def measure(
    contenders: Sequence[Contender],
    effort: Effort,
    *,
    environment: Mapping[str, str],
    notice: Callable[[str], None],
) -> tuple[list[Row], float]:
    """Measures contenders side by side.

    Args:
        contenders: started and warmed up one after the other, then measured in turns, in this order.
        effort: the duration.
        environment: variables added to those of this process in theirs.
        notice: called with each line of progress.

    Returns:
        One row per contender, with seconds per item (one value per round) and peak memory; and the share of the
        machine's CPU time used by other processes during the measurement, from 0 to 1.

    Raises:
        BenchmarkError: if a contender fails.
    """
    with ExitStack() as stack:
        all_turns = []
        for contender in contenders:
            notice(f"starting {contender.name}")
            all_turns.append(stack.enter_context(started(contender, effort, environment)))
        identities = [turns.identity for turns in all_turns]
        total, others = cpu_time(identities)
        for turn in range(effort.rounds):
            notice(f"round {turn + 1} of {effort.rounds}")
            for turns in all_turns:
                time.sleep(SETTLE)
                turns.take_one()
        total_after, others_after = cpu_time(identities)
    rows = [Row(turns.contender.name, turns.note, turns.seconds, turns.memory) for turns in all_turns]
    return rows, max(0.0, (others_after - others) / max(1, total_after - total))


@contextmanager
def started(contender: Contender, effort: Effort, environment: Mapping[str, str]) -> Iterator[Turns]:
    """A contender that is warm, in a process that ends with the block.

    Raises:
        BenchmarkError: if it fails.
    """
    with _process("benchmarks.turns", environment) as (process, log):
        yield Turns(contender, effort, process, log)


@dataclass(frozen=True)
class Lesson:
    """The progress of a model in training.

    Attributes:
        seconds: the times at which it was scored.
        nats: its held-out loss at each of them, in nats per character.
        is_whole: whether training finished.
    """

    seconds: list[float]
    nats: list[float]
    is_whole: bool

    def seconds_to(self, nats: float) -> float | None:
        """Seconds until the first score at or below this loss; ``None`` if there is none."""
        return next((s for s, found in zip(self.seconds, self.nats, strict=True) if found <= nats), None)


def follow(
    contender: Contender, minutes: float, *, environment: Mapping[str, str], notice: Callable[[str], None]
) -> Lesson:
    """Trains a contender until it finishes or its time is up; see :mod:`benchmarks.learners`.

    Raises:
        BenchmarkError: if it fails.
    """
    lesson: Lesson = Lesson([], [], is_whole=False)
    with _process("benchmarks.learners", environment) as (process, log):
        order = {"factory": contender.factory, "arguments": dict(contender.arguments)}
        is_over = threading.Event()

        def stop() -> None:
            is_over.set()
            process.kill()

        timer = threading.Timer(60 * minutes, stop)
        timer.start()
        try:
            assert process.stdout is not None
            _send(process, order)
            for line in process.stdout:
                if not line.endswith("\n"):
                    break  # killed while writing
                answer = json.loads(line)
                if "done" in answer:
                    return Lesson(lesson.seconds, lesson.nats, is_whole=True)
                lesson.seconds.append(answer["seconds"])
                lesson.nats.append(answer["nats"])
                notice(f"{answer['seconds']:,.0f} s: {answer['nats']:.3f} nats per character")
        finally:
            timer.cancel()
        if not is_over.is_set():
            raise _failure(contender, log)
    return lesson


@contextmanager
def _process(module: str, environment: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """A process of this Python and the file with its stderr output; the process is killed afterwards."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
        )
        try:
            yield process, log
        finally:
            process.kill()
            process.communicate()


def _send(process: subprocess.Popen[str], message: Mapping[str, Any]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # the process has ended; reading its answer reports that
        process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()


def _failure(contender: Contender, log: Any) -> BenchmarkError:
    log.seek(0)
    return BenchmarkError(f"{contender.name} failed:\n{log.read()[-4000:]}")


def fastest(ways: Mapping[WayT, Callable[[], object]], *, tries: int) -> WayT:
    """The way with the shortest call, after one warm-up call each.

    For contenders that have a choice, such as the number of threads.
    """
    least = dict.fromkeys(ways, float("inf"))
    for attempt in range(tries + 1):
        for name, call in ways.items():
            begin = time.perf_counter()
            call()
            if attempt:
                least[name] = min(least[name], time.perf_counter() - begin)
    return min(ways, key=lambda name: least[name])


class Turns:
    """A contender in its process: this side of the conversation with :mod:`benchmarks.turns`.

    Attributes:
        contender: what takes the turns.
        seconds: per item, a value per turn so far.
        cpu: CPU seconds of the process per item, a value per turn so far.
        memory: peak memory of the process in bytes, so far.
        note: a choice that it made.
        identity: of the process.
    """

    def __init__(self, contender: Contender, effort: Effort, process: subprocess.Popen[str], log: Any) -> None:
        self.contender = contender
        self.seconds: list[float] = []
        self.cpu: list[float] = []
        self.memory = 0
        self.identity = process.pid
        self._process, self._log = process, log
        order = {"factory": contender.factory, "arguments": dict(contender.arguments), "seconds": effort.turn_seconds}
        self.note = self._ask(order)["note"]

    def take_one(self) -> None:
        """Runs one turn of the contender, and records its times per item and its peak memory."""
        answer = self._ask({})
        self.memory = answer["memory"]
        self.seconds.append(answer["seconds"] / answer["items"])
        self.cpu.append(answer["cpu"] / answer["items"])

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdout is not None
        _send(self._process, message)
        line = self._process.stdout.readline()
        if not line:
            raise _failure(self.contender, self._log)
        answer: dict[str, Any] = json.loads(line)
        return answer
