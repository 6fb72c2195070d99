"""Measuring contenders turn by turn: A B C A B C, each in a process of its own that sleeps while others run.

A process each, because the thread pools of ONNX Runtime, TensorFlow, PyTorch and OpenBLAS keep spinning for a while
after a call: two of them in one process slow each other down by a factor of five on two cores. Turns, because a shared
machine changes its speed: contenders of one round meet like conditions, and ratios are taken round by round.
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

#: Seconds between turns. The longest spinners need about a tenth of a second to fall asleep.
SETTLE = 0.2


WayT = TypeVar("WayT")


class BenchmarkError(Exception):
    """A contender that cannot be measured; the message says which, and why."""


@dataclass(frozen=True)
class Work:
    """A job ready to be done again and again.

    Attributes:
        piece: does some of it and returns how many items that was, such as characters written.
        note: what was chosen on the way, such as a number of threads.
    """

    piece: Callable[[], int]
    note: str = ""


@dataclass(frozen=True)
class Contender:
    """One way of doing a job.

    Attributes:
        name: as tables show it.
        factory: ``"package.module:function"``, called in the contender's process; returns a :class:`Work`.
        arguments: of the factory, as JSON values.
    """

    name: str
    factory: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: turns of each contender.
        turn_seconds: that a turn lasts, about; one that needs longer for a piece of its work does one piece.
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
    """Measure contenders side by side.

    Args:
        contenders: started and warmed up one after the other, then measured in turn, in this order.
        effort: how long.
        environment: variables of their processes, over those of this one.
        notice: tells how it comes along, a line at a time.

    Returns:
        A row a contender: seconds an item, a value a round, and peak memory; and the share of the machine's CPU time
        that went to others than the contenders meanwhile, from 0 to 1.

    Raises:
        BenchmarkError: where a contender fails.
    """
    with ExitStack() as stack:
        all_turns = []
        for contender in contenders:
            notice(f"starting {contender.name}")
            process, log = stack.enter_context(_process("benchmarks.turns", environment))
            all_turns.append(_Turns(contender, effort, process, log))
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


@dataclass(frozen=True)
class Lesson:
    """How a model came along in training.

    Attributes:
        seconds: after which it was judged.
        nats: its held-out loss by then, in nats a character.
        is_whole: whether training came to its end.
    """

    seconds: list[float]
    nats: list[float]
    is_whole: bool

    def seconds_to(self, nats: float) -> float | None:
        """Seconds until the loss was first judged to be this or less; ``None`` where it never was."""
        return next((s for s, found in zip(self.seconds, self.nats, strict=True) if found <= nats), None)


def follow(
    contender: Contender, minutes: float, *, environment: Mapping[str, str], notice: Callable[[str], None]
) -> Lesson:
    """Let a contender learn, until it has done or its time is over; see :mod:`benchmarks.learners`.

    Raises:
        BenchmarkError: where it fails.
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
                    break  # it was killed as it wrote
                answer = json.loads(line)
                if "done" in answer:
                    return Lesson(lesson.seconds, lesson.nats, is_whole=True)
                lesson.seconds.append(answer["seconds"])
                lesson.nats.append(answer["nats"])
                notice(f"{answer['seconds']:,.0f} s: {answer['nats']:.3f} nats a character")
        finally:
            timer.cancel()
        if not is_over.is_set():
            raise _failure(contender, log)
    return lesson


@contextmanager
def _process(module: str, environment: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """A process of this Python, and the file that gets what it says on stderr; ended afterwards."""
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
    with suppress(BrokenPipeError):  # the process has ended, and so has its answer
        process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()


def _failure(contender: Contender, log: Any) -> BenchmarkError:
    log.seek(0)
    return BenchmarkError(f"{contender.name} failed:\n{log.read()[-4000:]}")


def fastest(ways: Mapping[WayT, Callable[[], object]], *, tries: int) -> WayT:
    """The way with the shortest call; each is called once before it counts.

    For contenders that have a choice, such as how many threads to take.
    """
    least = dict.fromkeys(ways, float("inf"))
    for attempt in range(tries + 1):
        for name, call in ways.items():
            begin = time.perf_counter()
            call()
            if attempt:
                least[name] = min(least[name], time.perf_counter() - begin)
    return min(ways, key=lambda name: least[name])


class _Turns:
    """The near end of :mod:`benchmarks.turns`."""

    def __init__(self, contender: Contender, effort: Effort, process: subprocess.Popen[str], log: Any) -> None:
        self.contender = contender
        self.seconds: list[float] = []
        self.memory = 0
        self.identity = process.pid
        self._process, self._log = process, log
        order = {"factory": contender.factory, "arguments": dict(contender.arguments), "seconds": effort.turn_seconds}
        self.note = self._ask(order)["note"]

    def take_one(self) -> None:
        """Let the contender work for a turn; note the seconds that an item took, and the memory held so far."""
        answer = self._ask({})
        self.memory = answer["memory"]
        self.seconds.append(answer["seconds"] / answer["items"])

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdout is not None
        _send(self._process, message)
        line = self._process.stdout.readline()
        if not line:
            raise _failure(self.contender, self._log)
        answer: dict[str, Any] = json.loads(line)
        return answer
