"""The engine ``local``: a process per worker, started anew (spawn) so that no thread or lock is inherited."""

from __future__ import annotations

import pickle
import traceback
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, islice
from multiprocessing import connection
from typing import Any

from pydantic import Field

from textgen import Chunk, Engine, Work, Written, killer_of, limit_cores, notice, start_process, usable_cores
from textgen.errors import TextgenError
from textgen.options import Options

#: Chunks that wait or are written, per worker: while one is written, the next one is there already.
AHEAD = 2

#: A chunk is given up when so many workers have died over it.
DEATHS = 3


class LocalOptions(Options):
    """Options of the engine ``local``."""

    cores: int = Field(1, ge=1, description="Cores per worker.")


class LocalEngine(Engine):
    """Writes with processes of this machine; a single worker is this process."""

    Options = LocalOptions
    options: LocalOptions

    def map(self, work: Work, chunks: Iterable[Chunk]) -> Generator[Written, None, None]:
        cores = self.options.cores
        number = self.workers or max(1, usable_cores() // cores)
        coming = iter(chunks)
        first = list(islice(coming, 2))
        if len(first) < 2:  # no worker would have something to do beside this one, which may have all cores
            yield from map(work, first)
            return
        if number == 1:
            with _limited(cores):
                yield from map(work, chain(first, coming))
            return
        pool = _Pool(pickle.dumps(work), number, cores)
        try:
            for chunk in first:
                pool.add(chunk)
            for chunk in coming:
                if pool.is_full:
                    yield pool.next()
                pool.add(chunk)
            while pool.waits:
                yield pool.next()
        finally:
            pool.close()


class _Pool:
    """Processes, the chunks that they are to write, and what came of them.

    Args:
        work: what they do, pickled.
        number: of processes at most; each is started with its first chunk.
        cores: of each.
    """

    def __init__(self, work: bytes, number: int, cores: int) -> None:
        self._work = work
        self._number = number
        self._cores = cores
        self._workers: list[_Worker] = []
        self._waiting: deque[_Place] = deque()
        self._places: deque[_Place] = deque()  # in the order of the chunks

    @property
    def is_full(self) -> bool:
        """Whether the workers have enough to do."""
        return len(self._places) >= AHEAD * self._number

    @property
    def waits(self) -> bool:
        """Whether anything is still to come."""
        return bool(self._places)

    def add(self, chunk: Chunk) -> None:
        """Have a chunk written."""
        place = _Place(chunk)
        self._places.append(place)
        self._waiting.append(place)
        self._hand_out()

    def next(self) -> Written:
        """What came of the first chunk of those that were not told of yet; waits for it."""
        while self._places[0].written is None:
            self._wait()
        place = self._places.popleft()
        assert place.written is not None
        return place.written

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()

    def _hand_out(self) -> None:
        for worker in self._workers:
            if worker.place is None and self._waiting:
                self._give(worker)
        while self._waiting and len(self._workers) < self._number:
            worker = _Worker(self._work, self._cores)
            self._workers.append(worker)
            self._give(worker)

    def _give(self, worker: _Worker) -> None:
        worker.place = self._waiting.popleft()
        with suppress(OSError):  # it has died, which _wait sees
            worker.connection.send(worker.place.chunk)

    def _wait(self) -> None:
        """Wait until a worker has written a chunk, or has died."""
        by_connection = {worker.connection: worker for worker in self._workers}
        for ready in connection.wait(list(by_connection)):
            worker = by_connection[ready]  # type: ignore[index]
            assert worker.place is not None
            try:
                found = worker.connection.recv()
            except (EOFError, OSError):
                self._bury(worker)
                continue
            if isinstance(found, _Failure):
                raise found.error()
            worker.place.written, worker.place = found, None
        self._hand_out()

    def _bury(self, worker: _Worker) -> None:
        """Have the chunk of a worker that died written by another one."""
        self._workers.remove(worker)
        worker.process.join()
        worker.connection.close()
        place = worker.place
        assert place is not None
        place.deaths += 1
        killer = killer_of(worker.process.exitcode)
        how = f"was killed by {killer}" if killer else f"ended with code {worker.process.exitcode}"
        where = f"rows {place.chunk.first:,} to {place.chunk.first + place.chunk.size - 1:,}"
        if place.deaths == DEATHS:
            raise TextgenError(
                f"{DEATHS} workers in a row died over {where}; the last one {how}; if memory is short, use fewer "
                "--workers, then run the same command again"
            )
        notice(f"a worker {how}; another one writes {where}")
        self._waiting.appendleft(place)


class _Place:
    """A chunk, and what came of it."""

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk
        self.written: Written | None = None
        self.deaths = 0


class _Worker:
    """A process, and the chunk that it writes.

    Args:
        work: what it does, pickled.
        cores: that it may use.
    """

    def __init__(self, work: bytes, cores: int) -> None:
        self.place: _Place | None = None
        self.connection, other = connection.Pipe()
        self.process = start_process(_serve, other, work, cores=cores)
        other.close()  # so that the end of the process closes the pipe


@contextmanager
def _limited(cores: int) -> Iterator[None]:
    """Limits the cores of this process inside the ``with`` block."""
    before = limit_cores(cores)
    try:
        yield
    finally:
        limit_cores(before)


class _Failure:
    """An error in a worker, as far as it can be pickled."""

    def __init__(self, error: Exception) -> None:
        self._message = str(error) if isinstance(error, TextgenError) else None
        self._traceback = "".join(traceback.format_exception(error))

    def error(self) -> Exception:
        """The error to raise."""
        if self._message is not None:
            return TextgenError(self._message)
        return RuntimeError(f"a worker failed:\n{self._traceback}")


def _serve(pipe: Any, pickled: bytes) -> None:
    """The life of a worker; it ends with the process that started it."""
    try:
        work = pickle.loads(pickled)
    except Exception as error:
        with suppress(OSError):
            pipe.send(_Failure(error))
        return
    while True:
        try:
            chunk = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            found: Written | _Failure = work(chunk)
        except Exception as error:
            found = _Failure(error)
        try:
            pipe.send(found)
        except OSError:
            return
