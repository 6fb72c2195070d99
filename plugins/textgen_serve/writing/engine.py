"""The engine: the one thread that runs the models, and hands what it writes to the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

from textgen import Batching, Event, Failed, Job

#: Events that all streams together send a second, at most: each then carries more text.
EVENTS_PER_SECOND = 800

ResultT = TypeVar("ResultT")

#: Reads or scores something, a piece at a time; returns the result.
Steps = Generator[None, None, ResultT]


class Turn(NamedTuple):
    """What a turn did.

    Attributes:
        model: the place of the model.
        events: of its rows.
        seconds: that the turn took.
        written: the numbers of rows and of ids that it wrote; ``None`` if the events are of all of them.
    """

    model: int
    events: Sequence[Event | Failed]
    seconds: float
    written: tuple[int, int] | None = None


class Engine:
    """The thread that runs the models: one turn of each after the other, and a piece of an errand in between.

    Its methods are called in the event loop.

    Args:
        batchings: one per model; none if other processes write, and errands are all that is left to do.
        take: called in the event loop with what the turns of all models did.
        fail: called in the event loop when the thread has died.
    """

    def __init__(
        self, batchings: Sequence[Batching], take: Callable[[list[Turn]], None], fail: Callable[[BaseException], None]
    ) -> None:
        self._batchings = batchings
        self._take = take
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._orders: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._errands: deque[tuple[Steps[Any], asyncio.Future[Any]]] = deque()
        self._awaited: set[asyncio.Future[Any]] = set()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="textgen-engine", daemon=True)
        self._thread.start()

    def add(self, model: int, job: Job) -> None:
        """Have a job written by a model."""
        self._orders.put(lambda: self._batchings[model].add(job))

    def cancel(self, model: int, job: Job) -> None:
        """End the rows of a job of a model before its next turn."""
        self._orders.put(lambda: self._batchings[model].cancel(job))

    def running(self, model: int) -> int:
        """The number of rows that a model reads or writes."""
        return self._batchings[model].running

    async def run(self, steps: Steps[ResultT]) -> ResultT:
        """Run an errand in the thread, a piece between two turns; returns its result. It ends if this is cancelled."""
        future: asyncio.Future[ResultT] = self._loop.create_future()
        self._awaited.add(future)
        self._orders.put(lambda: self._errands.append((steps, future)))
        try:
            return await future
        finally:
            self._awaited.discard(future)

    def fail_errands(self, error: Exception) -> None:
        """End all errands."""
        for future in self._awaited:
            _settle(future, None, error)

    def stop(self) -> None:
        """End the thread after its turn, and wait for it."""
        self._orders.put(self._stop)
        self._thread.join(timeout=5)

    def _stop(self) -> None:
        self._is_stopping = True

    def _run(self) -> None:
        try:
            while not self._is_stopping:
                self._obey()
                if turns := list(filter(None, map(self._turn, range(len(self._batchings))))):
                    self._tell(self._take, turns)
                self._run_errand()
        except BaseException as error:
            self._tell(self._fail, error)

    def _obey(self) -> None:
        """Do what was ordered; wait for an order if there is nothing else to do."""
        is_idle = not self._errands and not any(each.running or each.waiting for each in self._batchings)
        with suppress(Empty):
            while True:
                self._orders.get(block=is_idle)()
                is_idle = False

    def _turn(self, model: int) -> Turn | None:
        began = perf_counter()
        events = self._batchings[model].turn()
        return Turn(model, events, perf_counter() - began) if events else None

    def _run_errand(self) -> None:
        """Run a piece of the errand whose turn it is; what it raises is the fault of its request alone."""
        if not self._errands:
            return
        steps, future = self._errands.popleft()
        if future.done():
            steps.close()
            return
        try:
            next(steps)
        except StopIteration as end:
            self._tell(_settle, future, end.value, None)
        except Exception as error:
            self._tell(_settle, future, None, error)
        else:
            self._errands.append((steps, future))

    def _tell(self, function: Callable[..., object], *arguments: object) -> None:
        """Have a function called in the event loop; nothing if that has ended."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)


def _settle(future: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
