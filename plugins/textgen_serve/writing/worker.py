"""A process that writes: requests in, what came of their rows out. The server has them if it is told ``--workers``."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from textgen import Event, Failed, Job, Request, TextGenerator, use_plugins
from textgen_serve.metrics import log_error
from textgen_serve.protocol.errors import RequestError
from textgen_serve.served_run import ServedRun, failure
from textgen_serve.writing.engine import EVENTS_PER_SECOND
from textgen_serve.writing.link import Link

#: How much less of the cores a worker gets than the server where both want them: what has been written is to leave, and
#: what is asked for to come in, without waiting for the writing.
NICENESS = 10

#: Seconds of a turn: fewer than without workers, since each waits for the cores at times; and so few that new rows need
#: no turn of their own.
SECONDS = 0.01


class Setup(NamedTuple):
    """What a worker serves.

    Attributes:
        files: of plugins, to load.
        without: names of plugins that are not to be loaded.
        share: the number of workers.
        runs: pickled, the arguments of each :class:`ServedRun`; plugins may be needed to load them.
    """

    files: Sequence[Path]
    without: Sequence[str]
    share: int
    runs: bytes

    @classmethod
    def of(cls, runs: Sequence[ServedRun], index: int, share: int) -> Setup:
        """What one of some workers serves, so that together they write as many rows side by side as one server."""
        registry = runs[0].generator.run.registry
        described = [
            (run.name, run.generator, run.default_length, run.most_rows // share + (index < run.most_rows % share))
            for run in runs
        ]
        return cls(registry.files, registry.without, share, pickle.dumps(described))

    def open(self) -> list[ServedRun]:
        """Load the runs."""
        use_plugins(files=self.files, without=self.without)
        described: list[tuple[str, TextGenerator, int, int]] = pickle.loads(self.runs)
        return [
            ServedRun(name, generator, default_length=length, most_rows=rows, seconds=SECONDS)
            for name, generator, length, rows in described
        ]


class Add(NamedTuple):
    """The order to write rows of a request.

    Attributes:
        number: of the order, for what follows on it.
        model: by its place.
        request: for these rows alone; without chains, which belong to the process.
        chains: as they are written, one per row.
        streams: whether text is wanted before all of it has been written.
    """

    number: int
    model: int
    request: Request
    chains: Sequence[str]
    streams: bool

    @classmethod
    def of(cls, number: int, model: int, request: Request, rows: Sequence[int], *, streams: bool) -> Add:
        """The order to write rows of a request, by their index."""
        part = replace(
            request,
            prompts=tuple(request.prompts[row] for row in rows),
            chains=(),
            row_seeds=tuple(map(request.row_seed, rows)),
            ids=tuple(request.ids[row] for row in rows) if request.ids else (),
            labels=tuple(request.labels[row] for row in rows) if request.labels else (),
        )
        return cls(number, model, part, [request.chains[row].text for row in rows], streams)


class Cancel(NamedTuple):
    """The order to end the rows of an order."""

    number: int


class News(NamedTuple):
    """What a turn did to a row; see :class:`textgen.Event`.

    Attributes:
        number: of the order.
        row: by its index in the order.
        began: when the job began, by ``perf_counter``, which all processes of a machine share.
        text: new text.
        ids: that were written since.
        ending: what the row has become, once it has ended; ``None`` before. For ``Row.follow``.
    """

    number: int
    row: int
    began: float | None
    text: str
    ids: list[int]
    ending: Any


class Lost(NamedTuple):
    """An order whose rows have failed; see :class:`textgen.Failed`."""

    number: int
    error: RequestError


class Report(NamedTuple):
    """What a turn of a model did.

    Attributes:
        model: by its place.
        seconds: that the turn took.
        rows: the number of rows that it wrote.
        ids: the number of ids that it wrote.
        running: rows that are read or written.
        news: of some rows, in order.
    """

    model: int
    seconds: float
    rows: int
    ids: int
    running: int
    news: list[News | Lost]


def work(end: socket.socket) -> None:
    """The life of a worker, which ends with the server: it gets a :class:`Setup`, says that it is ready, and writes."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it may be sent to the whole group; the server ends its workers
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    link = Link(end)
    with suppress(EOFError, ConnectionError):  # the server has ended
        setup: Setup = link.receive()
        try:
            runs = setup.open()
        except Exception as error:
            link.send(str(error))
            return
        link.send("")
        gc.freeze()
        for run in runs:
            threading.Thread(target=run.warm_up, daemon=True).start()
        try:
            _Work(link, runs, setup.share).go_on()
        except (EOFError, ConnectionError):
            raise
        except BaseException as error:
            log_error(error)
            raise SystemExit(1) from None


class _Order:
    """Rows that were ordered.

    Args:
        number: of the order.
        model: by its place.
        job: of the rows.
        streams: whether text is wanted before all of it has been written.
    """

    def __init__(self, number: int, model: int, job: Job, *, streams: bool) -> None:
        self.number = number
        self.model = model
        self.job = job
        self.streams = streams
        self.left = len(job.rows)  # rows that have not ended
        self._rows = [_Told() for _ in job.rows]

    def take(self, event: Event | Failed, now: float, rest: float) -> tuple[int, News | Lost | None]:
        """Take an event of a row.

        Args:
            event: of the last turn.
            now: by ``perf_counter``.
            rest: seconds between two news of a row.

        Returns:
            The number of its new ids, and what the server is told: ``None`` if the row goes on, and the server needs to
            know nothing more so soon. It is always told that a row has begun, and that it has ended.
        """
        if isinstance(event, Failed):
            self.left = 0
            return 0, Lost(self.number, failure(event.error))
        row, told = self.job.rows[event.index], self._rows[event.index]
        before, told.written = told.written, len(row.ids)
        count = told.written - before
        told.text.append(event.text)
        is_rest = told.when is not None and (not self.streams or now < told.when + rest)
        if event.finish_reason is None and is_rest:
            return count, None
        ids, text = row.written[told.ids :], "".join(told.text)
        told.ids, told.text, told.when = len(row.written), [], now
        ending = None
        if event.finish_reason is not None:
            self.left -= 1
            ending = row.ending
        return count, News(self.number, event.index, self.job.began, text, ids, ending)


class _Told:
    """What the server knows of a row.

    Attributes:
        when: it was told of it, by ``perf_counter``; ``None`` so far.
        ids: the number of those that it knows, without a drawn first one.
        written: the number of ids that there are.
        text: that it does not know.
    """

    __slots__ = ("ids", "text", "when", "written")

    def __init__(self) -> None:
        self.when: float | None = None
        self.ids = self.written = 0
        self.text: list[str] = []


class _Work:
    """What a worker has to do.

    Args:
        link: from and to the server.
        runs: that are served.
        share: the number of workers.
    """

    def __init__(self, link: Link, runs: Sequence[ServedRun], share: int) -> None:
        self._link = link
        self._runs = runs
        self._rest_per_row = share / EVENTS_PER_SECOND  # seconds; the others have as many rows
        self._orders: dict[int, _Order] = {}
        self._order_of: dict[Job, _Order] = {}

    def go_on(self) -> None:
        """Write until the server has ended."""
        while True:
            self._obey()
            for model, run in enumerate(self._runs):
                began = perf_counter()
                if events := run.batching.turn():
                    now, rest = perf_counter(), self._rest_per_row * self._streamed_rows
                    orders = [self._order_of[event.job] for event in events]
                    taken = [order.take(event, now, rest) for order, event in zip(orders, events, strict=True)]
                    ids = sum(count for count, _ in taken)
                    news = [told for _, told in taken if told is not None]
                    self._link.send(Report(model, now - began, len(events), ids, run.batching.running, news))
                    for order in orders:
                        if not order.left and order.number in self._orders:
                            del self._orders[order.number], self._order_of[order.job]

    @property
    def _streamed_rows(self) -> int:
        """The number of rows whose text is wanted while it is written."""
        return sum(order.left for order in self._orders.values() if order.streams)

    def _obey(self) -> None:
        """Do what was ordered; wait for an order if there is nothing else to do."""
        is_idle = not any(run.batching.running or run.batching.waiting for run in self._runs)
        while is_idle or self._link.has_message:
            order: Add | Cancel = self._link.receive()
            if isinstance(order, Add):
                self._add(order)
                is_idle = False
            elif found := self._orders.get(order.number):  # otherwise it has ended meanwhile
                self._runs[found.model].batching.cancel(found.job)
                is_idle = False

    def _add(self, order: Add) -> None:
        run = self._runs[order.model]
        chains = {text: run.generator.run.chain(text) for text in set(order.chains)}
        request = replace(order.request, chains=tuple(chains[text] for text in order.chains))
        job = run.batching.prepare(request)  # as the server did, which has let it in
        self._orders[order.number] = self._order_of[job] = _Order(order.number, order.model, job, streams=order.streams)
        run.batching.add(job)
