"""Requests in flight, as the event loop sees them: let in, written, ended."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import NamedTuple

from textgen import Event, Failed, Job
from textgen_serve.metrics import Metrics
from textgen_serve.protocol.errors import RETRY_AFTER, RequestError, unavailable
from textgen_serve.served_run import ServedRun, failure
from textgen_serve.writing.engine import EVENTS_PER_SECOND, Engine, Turn
from textgen_serve.writing.workers import Worker, Workers

#: Events that are handed out at once: those of hundreds of rows take so long that new requests would wait.
AT_ONCE = 32


class Piece(NamedTuple):
    """New text of a row.

    Attributes:
        row: by its index in the request.
        text: all of it since the last piece.
        is_last: whether the row has ended.
    """

    row: int
    text: str
    is_last: bool


class Writing:
    """A request while it is written.

    Args:
        run: that writes it.
        job: prepared.
        prompt_tokens: the tokens of its prompts.
        began: when it came, by ``time.perf_counter``.
        streams: whether its text is wanted before all of it has been written.

    Attributes:
        prompt_tokens: as given.
        error: what ended it before its time; ``None`` so far.
        streams: as given.
        has_text: whether any of its text has come.
        is_wanted: whether somebody still waits for its text.
        rests_until: when new text is news again, by ``perf_counter``; the end of a row always is.
    """

    def __init__(self, run: ServedRun, job: Job, prompt_tokens: int, began: float, *, streams: bool) -> None:
        self.run = run
        self.job = job
        self.prompt_tokens = prompt_tokens
        self.began = began
        self.error: RequestError | None = None
        self.has_text = False
        self.is_wanted = True
        self.rests_until = 0.0
        self.streams = streams
        self._counts = [0] * len(job.rows)
        self._left = len(job.rows)
        self._pending: dict[int, list[str]] = {}
        self._ended: set[int] = set()
        self._news = asyncio.Event()

    @property
    def has_ended(self) -> bool:
        """Whether the engine has nothing more to say of it."""
        return self._left == 0

    @property
    def is_done(self) -> bool:
        """Whether its client will get nothing more of it."""
        return self.has_ended or self.error is not None

    def count(self, index: int) -> int:
        """The number of ids of a row that were not counted yet."""
        before, self._counts[index] = self._counts[index], len(self.job.rows[index].ids)
        return self._counts[index] - before

    def take(self, index: int, text: str, *, is_last: bool) -> None:
        """Take new text of a row."""
        self._pending.setdefault(index, []).append(text)
        if is_last:
            self._ended.add(index)
            self._left -= 1
        if self._left == 0 or (self.streams and (is_last or perf_counter() >= self.rests_until)):
            self._news.set()

    def fail(self, error: RequestError) -> None:
        """End it before its time."""
        if not self.is_done:
            self.error = error
        self._news.set()

    def lose(self, error: RequestError) -> None:
        """End it because the engine has failed to write it."""
        self.fail(error)
        self._left = 0

    async def news(self) -> None:
        """Wait for new text, or the end."""
        await self._news.wait()
        self._news.clear()

    def pieces(self, least: int = 1) -> Iterator[Piece]:
        """The new text, a piece per row.

        Args:
            least: characters of a piece, unless it is the row's last one.
        """
        for index in [*self._pending]:
            is_last = index in self._ended
            text = "".join(self._pending[index])
            if is_last or len(text) >= least:
                del self._pending[index]
                yield Piece(index, text, is_last)


class Desk:
    """Lets requests in, hands out what the engine writes, and ends requests.

    Args:
        runs: that are served.
        metrics: to keep.
        most_waiting: texts that may wait, of all runs together.
        workers: processes that write; if there are none, the engine writes.

    Attributes:
        engine: the thread that reads and scores, and writes if no worker does.
        closed: why no request is let in; ``None`` if they are.
        died: what the engine or a worker died of; ``None`` if all live.
    """

    def __init__(
        self, runs: Sequence[ServedRun], metrics: Metrics, most_waiting: int, workers: Sequence[Worker] = ()
    ) -> None:
        self.closed: RequestError | None = None
        self.died: BaseException | None = None
        self._runs = runs
        self._metrics = metrics
        self._most_waiting = most_waiting
        self._rows = dict.fromkeys(runs, 0)
        self._streams = 0  # requests whose text is wanted while it is written
        self._writings: dict[Job, Writing] = {}
        self._first: deque[Event | Failed] = deque()  # of requests whose clients have got no text so far
        self._later: deque[Event | Failed] = deque()
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._model_of = {run: model for model, run in enumerate(runs)}
        self.engine = Engine([] if workers else [run.batching for run in runs], self._take, self._die)
        self._writer: Engine | Workers = self.engine
        if workers:
            self._writer = Workers(workers, self._take, self._die, lambda job: self._writings[job].streams)

    @property
    def count(self) -> int:
        """The number of requests that are being written."""
        return len(self._writings)

    @property
    def rest(self) -> float:
        """Seconds between two events of a stream; none if there are workers, which keep to it themselves."""
        return self._streams / EVENTS_PER_SECOND if self._writer is self.engine else 0.0

    @contextmanager
    def place(self, run: ServedRun, rows: int) -> Iterator[None]:
        """Reserve the rows of a request.

        Raises:
            RequestError: if the server is closed, or it is full, or they are more than it ever takes.
        """
        if self.closed:
            raise self.closed
        most = run.most_rows + self._most_waiting
        if rows > most:
            raise RequestError(400, f"{rows:,} texts are asked for; a request may ask for {most:,}", param="n")
        after = self._rows | {run: self._rows[run] + rows}
        if sum(max(0, count - each.most_rows) for each, count in after.items()) > self._most_waiting:
            self._metrics.rejected.labels(run.name).inc()
            full = "the server is busy; ask again in a moment"
            retry = {"Retry-After": str(RETRY_AFTER)}
            raise RequestError(429, full, "rate_limit_error", code="queue_full", headers=retry)
        self._rows[run] += rows
        self._is_empty.clear()
        try:
            yield
        finally:
            self._rows[run] -= rows
            if not any(self._rows.values()):
                self._is_empty.set()

    @contextmanager
    def written(self, writing: Writing) -> Iterator[None]:
        """Have a request written; whatever ends the block ends it."""
        if self.closed:  # since its place was reserved
            raise self.closed
        job, model = writing.job, self._model_of[writing.run]
        self._writings[job] = writing
        self._writer.add(model, job)
        self._streams += writing.streams
        try:
            yield
        finally:
            self._streams -= writing.streams
            if writing.has_ended:
                del self._writings[job]
            else:  # it stays until its rows have ended, so that all that they write is counted
                writing.is_wanted = False
                self._writer.cancel(model, job)

    async def drained(self, seconds: float) -> None:
        """Wait until all requests have been answered; those that take longer than some seconds are ended."""
        try:
            async with asyncio.timeout(seconds):
                await self._is_empty.wait()
        except TimeoutError:
            self._end_all(unavailable("the server is shutting down", "shutting_down"))
            await asyncio.sleep(0)

    def stop(self) -> None:
        """Stop writing."""
        for each in {self.engine, self._writer}:  # which may be the same
            each.stop()

    def refresh(self) -> None:
        """Bring the gauges up to date."""
        self._metrics.tasks.set(len(asyncio.all_tasks()))
        for model, run in enumerate(self._runs):
            own = [writing for writing in self._writings.values() if writing.run is run and writing.is_wanted]
            begun = sum(writing.job.began is not None for writing in own)
            self._metrics.requests_running.labels(run.name).set(begun)
            self._metrics.requests_waiting.labels(run.name).set(len(own) - begun)
            self._metrics.rows_running.labels(run.name).set(self._writer.running(model))

    def _take(self, turns: list[Turn]) -> None:
        """Take what the turns of the models did."""
        is_handing_out = bool(self._first or self._later)
        for turn in turns:
            events = [event for event in turn.events if isinstance(event, Event)]
            rows, ids = turn.written or (
                len(events),
                sum(self._writings[event.job].count(event.index) for event in events),
            )
            name = self._runs[turn.model].name
            self._metrics.generation_tokens.labels(name).inc(ids)
            if ids:
                self._metrics.iteration.labels(name).observe(ids)
                self._metrics.inter_token.labels(name).observe(turn.seconds * rows / ids)
            for event in turn.events:
                is_first = isinstance(event, Event) and not self._writings[event.job].has_text
                (self._first if is_first else self._later).append(event)
        if not is_handing_out:
            self._hand_out()

    def _hand_out(self) -> None:
        """Hand out some events, and the others once the event loop has looked whether requests have come."""
        now = perf_counter()
        for _ in range(min(AT_ONCE, len(self._first) + len(self._later))):
            event = (self._first or self._later).popleft()
            writing = self._writings[event.job]
            if isinstance(event, Failed):
                writing.lose(failure(event.error))
            else:
                if writing.is_wanted and not writing.has_text:
                    self._note_first(writing, now)
                writing.take(event.index, event.text, is_last=event.finish_reason is not None)
            if writing.has_ended and not writing.is_wanted:
                del self._writings[event.job]
        if self._first or self._later:
            asyncio.get_running_loop().call_soon(self._hand_out)

    def _note_first(self, writing: Writing, now: float) -> None:
        """Note that the first text of a request has come: its prompts have been read."""
        writing.has_text = True
        name, began = writing.run.name, writing.job.began or now
        self._metrics.prompt_tokens.labels(name).inc(writing.prompt_tokens)
        self._metrics.queue_time.labels(name).observe(began - writing.began)
        self._metrics.first_token.labels(name).observe(now - writing.began)

    def _die(self, error: BaseException) -> None:
        """The engine or a worker has died: nothing can be written any more."""
        self.died = error
        self._end_all(unavailable("the server has failed and is about to end", "engine_dead"))

    def _end_all(self, error: RequestError) -> None:
        self.closed = self.closed or error
        for writing in self._writings.values():
            writing.fail(error)
        self.engine.fail_errands(error)
