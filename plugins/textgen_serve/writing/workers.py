"""Processes that write, as the server sees them: each row goes to the one with the fewest rows."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count

from textgen import Event, Failed, Job, killer_of, start_process, usable_cores
from textgen.errors import UnavailableError
from textgen_serve.served_run import ServedRun
from textgen_serve.writing.engine import Turn
from textgen_serve.writing.link import AsyncLink, Link
from textgen_serve.writing.worker import Add, Cancel, Lost, News, Report, Setup, work

#: Seconds that a worker may take to end.
LAST_SECONDS = 5


class WorkerDied(Exception):
    """A worker has ended before the server."""


class Worker:
    """A process that writes; it ends with this one.

    Args:
        index: among the workers.
        share: the number of workers, of which each gets so much of the cores.

    Attributes:
        rows: that it has to write.
        running: those that it reads or writes, by model.
    """

    def __init__(self, index: int, share: int) -> None:
        self.rows = 0
        self.running: dict[int, int] = {}
        self._index = index
        self._share = share
        self._socket, other = socket.socketpair()
        self._link = Link(self._socket)
        self._async_link: AsyncLink | None = None
        self._following: asyncio.Task[None] | None = None  # kept, since the event loop does not keep it
        self._process = start_process(work, other, cores=max(1, usable_cores() // share))
        other.close()  # so that the end of the process closes the pair

    def set_up(self, runs: Sequence[ServedRun]) -> None:
        """Have the process load runs, which takes a moment."""
        with suppress(ConnectionError):  # it has died, which wait sees
            self._link.send(Setup.of(runs, self._index, self._share))

    def wait(self) -> None:
        """Wait until the process has loaded its runs.

        Raises:
            UnavailableError: if it could not.
        """
        try:
            fault: str = self._link.receive()
        except (EOFError, ConnectionError):
            fault = self._how_it_ended()
        if fault:
            raise UnavailableError(f"a worker cannot load what the server has loaded: {fault}; start the server again")

    def listen(self, take: Callable[[Report], None], lose: Callable[[Exception], None]) -> None:
        """Begin to take reports, and to send orders, in the running event loop.

        Args:
            take: called with a report.
            lose: called when the process has ended, or ``take`` has failed.
        """
        self._async_link = AsyncLink(take)
        self._following = asyncio.create_task(self._follow(self._async_link, lose))

    async def _follow(self, link: AsyncLink, lose: Callable[[Exception], None]) -> None:
        """Connect a link, and tell why it was lost."""
        try:
            await asyncio.get_running_loop().create_connection(lambda: link, sock=self._socket)
            await link.lost
            how = await asyncio.to_thread(self._how_it_ended)
        except Exception as error:
            lose(error)
        else:
            lose(WorkerDied(f"a worker has ended: {how}"))

    def order(self, order: Add | Cancel) -> None:
        """Send an order; a process that is busy takes it later."""
        assert self._async_link is not None
        self._async_link.send(order)

    def leave(self) -> None:
        """Take no more reports; the process may end. Called in the event loop."""
        assert self._async_link is not None
        self._async_link.close()

    def end(self) -> None:
        """End the process."""
        self._process.kill()  # what it has still to say, nobody waits for
        self._process.join(LAST_SECONDS)
        self._socket.close()

    def _how_it_ended(self) -> str:
        """How the process has ended, which has closed its end of the pair."""
        self._process.join(LAST_SECONDS)
        killer = killer_of(self._process.exitcode)
        return f"killed by {killer}" if killer else f"exit code {self._process.exitcode}"


@contextmanager
def start_workers(number: int) -> Iterator[list[Worker]]:
    """Starts workers, none instead of a single one, and ends them with the ``with`` block."""
    found: list[Worker] = []
    try:
        for index in range(number if number > 1 else 0):
            found.append(Worker(index, number))
        yield found
    finally:
        for worker in found:
            worker.end()


@dataclass(eq=False)
class _Part:
    """The rows of a job that one worker writes.

    Attributes:
        number: of the order that the worker has.
        job: that the rows belong to.
        worker: that writes them.
        rows: by their index in the job.
        left: the number of those that have not ended.
    """

    number: int
    job: Job
    worker: Worker
    rows: list[int]
    left: int = 0


class Workers:
    """The workers of a server. Its methods are called in the event loop.

    Args:
        workers: that are ready.
        take: called in the event loop with what the turn of a worker did.
        fail: called in the event loop when a worker has died.
        streams: whether the text of a job is wanted before all of it has been written.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        take: Callable[[list[Turn]], None],
        fail: Callable[[BaseException], None],
        streams: Callable[[Job], bool],
    ) -> None:
        self._workers = workers
        self._take = take
        self._streams = streams
        self._numbers = count()
        self._parts: dict[int, _Part] = {}
        self._parts_of: dict[Job, list[_Part]] = {}
        for worker in workers:
            worker.listen(partial(self._arrive, worker), fail)

    def add(self, model: int, job: Job) -> None:
        """Have a job written by a model."""
        parts: dict[Worker, _Part] = {}
        for row in range(len(job.rows)):
            worker = min(self._workers, key=lambda worker: worker.rows)
            worker.rows += 1
            if worker not in parts:
                parts[worker] = _Part(next(self._numbers), job, worker, [])
            parts[worker].rows.append(row)
        self._parts_of[job] = [*parts.values()]
        for part in parts.values():
            part.left = len(part.rows)
            self._parts[part.number] = part
            part.worker.order(Add.of(part.number, model, job.request, part.rows, streams=self._streams(job)))

    def cancel(self, model: int, job: Job) -> None:
        """End the rows of a job of a model before its next turn."""
        for part in self._parts_of.get(job, ()):
            part.worker.order(Cancel(part.number))

    def running(self, model: int) -> int:
        """The number of rows that a model reads or writes."""
        return sum(worker.running.get(model, 0) for worker in self._workers)

    def stop(self) -> None:
        """Take no more of what the workers write."""
        for worker in self._workers:
            worker.leave()

    def _arrive(self, worker: Worker, report: Report) -> None:
        """Take over what a turn of a worker did."""
        worker.running[report.model] = report.running
        events = [event for each in report.news if (event := self._event(each)) is not None]
        self._take([Turn(report.model, events, report.seconds, (report.rows, report.ids))])

    def _event(self, told: News | Lost) -> Event | Failed | None:
        """What has happened to a job; ``None`` if another part of it has failed before."""
        part = self._parts.get(told.number)
        if part is None:
            return None
        job = part.job
        if isinstance(told, Lost):
            self.cancel(0, job)
            for each in [*self._parts_of[job]]:
                self._settle(each, each.left)
            return Failed(job, told.error)
        row = job.rows[part.rows[told.row]]
        row.follow(told.ids, told.ending)
        job.began = job.began or told.began
        if told.ending is not None:
            self._settle(part, 1)
        return Event(job, row.index, told.text, row.finish_reason)

    def _settle(self, part: _Part, rows: int) -> None:
        """Note that rows of a part have ended."""
        part.left -= rows
        part.worker.rows -= rows
        if not part.left:
            del self._parts[part.number]
            self._parts_of[part.job].remove(part)
            if not self._parts_of[part.job]:
                del self._parts_of[part.job]
