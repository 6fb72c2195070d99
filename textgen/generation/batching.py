"""Continuous batching: rows of any requests join and leave between two chunks of the rows that are being written.

A recurrent state is a few kilobytes, so a row costs nothing but its steps. Its text depends on its prompt, its chain,
the seed and the row's seed; not on the rows beside it, on when it joined, or on the size of the chunks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import partial
from time import perf_counter
from typing import TypeVar

import numpy as np

from textgen.errors import OptionError
from textgen.generation.group import STEPS_STREAMED, Group, Reading, Writing
from textgen.generation.job import Event, Failed, Job
from textgen.generation.prompts import ReadPrompt, first_ids, read_prompt
from textgen.generation.request import Request
from textgen.generation.row import Row
from textgen.generation.runtime import MOST_STEPS, Runtime
from textgen.generation.stop_texts import StopTexts
from textgen.sampling.chain import Chain
from textgen.text.boundaries import Boundaries
from textgen.text.tokenizer import Tokenizer

#: By the clock: the steps of a first chunk, which are the fewest of any chunk, and the most: of text that may end at
#: any step, and of text that runs to its full length. Where other processes take the time, chunks would shrink to a
#: step, of which a small model is a fraction.
FIRST_STEPS, MOST_STEPS_TO_END, MOST_STEPS_WRITTEN = 4, 64, 512

#: By the clock: what a row costs in a turn besides its steps is about a tenth of this; turns of many rows take longer,
#: so that it stays a tenth.
SECONDS_PER_ROW = 2e-4

#: By the clock: seconds of a turn for which new rows can wait: they have no first chunk of their own then, which costs
#: as much as some chunks of a small model.
SHORT_TURN = 0.01

#: By the clock: how much shorter a turn is with new rows that have no first chunk of their own.
NEW_ROWS_FACTOR = 0.5

#: By the clock: how fast a quick chunk is forgotten; by half in fifteen chunks, if all others take longer.
FORGETS = 1.05

#: Forms of chains, besides the common ones, that a runtime may make a graph for: each takes as much memory as the
#: weights, and stays. Rows in further forms are written step by step, which is slower.
MOST_FORMS = 8

#: Without a clock, chunks of text that runs to its full length double as long as they take less than half of these
#: seconds, in which a reader notices no delay.
LOOK_EVERY = 0.05

#: The steps in which prompts are read before their speed is known.
FIRST_READ = 64

G = TypeVar("G", Reading, Writing)


class Batching:
    """Writes the rows of any requests side by side, in turns.

    One thread takes the turns; the other methods may be called by any thread at any time.

    Args:
        runtime: a loaded model.
        tokenizer: fitted.
        boundaries: how the model's texts begin and end.
        chain: rows whose chain differs from it in numbers alone are written by its graph. All others share the graphs
            of two common forms, where one of these draws the same ids, so that there are few groups.
        most_rows: the rows that are read or written at the same time.
        seconds: the time that a turn may take to read prompts, and to write; chunks are as long as fits, or as the
            runtime prefers them. ``None`` to choose chunks as the requests and the runtime prefer them, and to begin
            new rows once all others have ended: the fastest for a single request.

    Example:
        >>> batching = textgen.load("runs/romeo").batching()  # doctest: +SKIP
        >>> job = batching.prepare(generator.request("ROMEO:", num=3))  # doctest: +SKIP
        >>> batching.add(job)  # doctest: +SKIP
        >>> while not job.is_done:  # doctest: +SKIP
        ...     for event in batching.turn():
        ...         print(event.index, event.text)
    """

    def __init__(
        self,
        runtime: Runtime,
        tokenizer: Tokenizer,
        boundaries: Boundaries,
        *,
        chain: Chain | None = None,
        most_rows: int = 512,
        seconds: float | None = 0.02,
    ) -> None:
        self._runtime = runtime
        self._tokenizer = tokenizer
        self._boundaries = boundaries
        self._forbidden = boundaries.forbidden_ids(tokenizer)
        self._chain = chain
        self._forms = {chain.form} if chain else set()
        self._most_rows = most_rows
        self._clock = None if seconds is None else Clock(seconds)
        self._waiting: deque[tuple[Job, deque[Row]]] = deque()
        self._to_cancel: deque[tuple[Job, list[Row]]] = deque()
        self._job_of: dict[Row, Job] = {}  # of the rows that are read or written
        self._reading: list[Reading] = []
        self._writing: list[Writing] = []  # written in this round
        self._due: list[Writing] = []  # to be written in this round

    @property
    def running(self) -> int:
        """The number of rows that are read or written."""
        return len(self._job_of)

    @property
    def waiting(self) -> int:
        """The number of rows that wait for a place."""
        return sum(len(rows) for _, rows in list(self._waiting))

    def prepare(self, request: Request) -> Job:
        """Check a request, and encode its prompts.

        Raises:
            UnknownCharacterError: if a prompt has an unknown character.
            OptionError: if the numbers of prompts, labels, row seeds and chains differ, no character of a prompt is
                known, or there is no such label.
            ArtifactError: if the state to continue from is not one of the model's.
        """
        _check_counts(request)
        if request.continuation:
            self._runtime.state_spec.check(request.continuation.state)
        read = self._read_prompts(request)
        stop = StopTexts(request.stop)
        firsts = first_ids(self._tokenizer, self._boundaries, request, [prompt.ids for prompt in read])
        common = {chain: chain.common for chain in dict.fromkeys(request.chains)}
        end_id = None if request.ignore_eos else self._boundaries.end_id
        rows = [
            Row(
                request,
                index,
                ids,
                chain if self._chain and chain.form == self._chain.form else common[chain],
                self._tokenizer,
                stop=stop,
                end_id=end_id,
                is_drawn=is_drawn,
            )
            for index, (chain, (ids, is_drawn)) in enumerate(zip(request.chains, firsts, strict=True))
        ]
        return Job(request, rows, read, self._tokenizer)

    def _read_prompts(self, request: Request) -> list[ReadPrompt]:
        """The prompt of each row as the model reads it."""
        if request.ids:
            size = self._runtime.vocab_size
            if wrong := next((i for ids in request.ids for i in ids if not 0 <= i < size), None):
                raise OptionError(f"there is no id {wrong}; ids are from 0 to {size - 1}")
            return [ReadPrompt(np.array(ids, np.int32)) for ids in request.ids]
        read = {p: read_prompt(self._tokenizer, p, request.on_unknown) for p in dict.fromkeys(request.prompts)}
        return [read[prompt] for prompt in request.prompts]

    def add(self, job: Job) -> None:
        """Let the rows of a job wait for places; jobs take turns, a row each."""
        if rows := deque(row for row in job.rows if row.finish_reason != "cancelled"):
            self._waiting.append((job, rows))

    def cancel(self, job: Job, rows: Iterable[int] | None = None) -> None:
        """End rows of a job, by default all of them, before their next chunk; those that have ended stay as they are.

        Args:
            job: that was added.
            rows: by their index in the request.
        """
        self._to_cancel.append((job, job.rows if rows is None else [job.rows[index] for index in rows]))

    def turn(self) -> list[Event | Failed]:
        """Let rows in, read prompts, and write a chunk of each row; first chunks in a turn of their own.

        Returns:
            What happened, in order; nothing if there is nothing to do.
        """
        return list(self._turn())

    def _turn(self) -> Iterator[Event | Failed]:
        yield from self._end_cancelled()
        if not self._due:
            self._admit()
            yield from self._read()
            self._due, self._writing = self._writing, []
        # Rows that have just begun need not wait for a long chunk of the others, which have the next turn.
        groups = [group for group in self._due if group.has_own_turn] or self._due
        self._due = [group for group in self._due if group not in groups]
        share = 1 / max(1, sum(not group.has_own_turn for group in groups))  # first chunks are short
        for group in groups:
            yield from self._each(group, partial(self._write, share=share))

    def _end_cancelled(self) -> Iterator[Event]:
        while self._to_cancel:
            job, rows = self._to_cancel.popleft()
            for row in rows:
                if row.finish_reason is None:
                    row.cancel()
                    yield self._end(job, row, "")
            self._drop_cancelled()

    def _drop_cancelled(self) -> None:
        """Drop cancelled rows from those that wait."""
        for _ in range(len(self._waiting)):  # another thread may add more
            job, rows = self._waiting.popleft()
            if left := deque(row for row in rows if row.finish_reason != "cancelled"):
                self._waiting.append((job, left))

    def _admit(self) -> None:
        """Give free places to rows that wait."""
        if self._clock is None and self._job_of:
            return
        rows = []
        while self._waiting and self.running < self._most_rows:
            job, left = self._waiting.popleft()
            row = left.popleft()
            if left:
                self._waiting.append((job, left))
            self._job_of[row] = job
            job.began = job.began or perf_counter()
            rows.append(row)
        if rows:
            self._reading = _joined([*self._reading, Reading(self._runtime, rows)])

    def _read(self) -> Iterator[Event | Failed]:
        """Read prompts, and begin to write the rows that have read theirs."""
        yield from self._begin_ready()
        groups, self._reading = self._reading, []
        for group in groups:
            yield from self._each(group, self._read_some)
        yield from self._begin_ready()
        self._reading = _joined(self._reading)
        self._writing = _joined(self._writing)

    def _begin_ready(self) -> Iterator[Event | Failed]:
        ready = [part for group in self._reading for part in group.take_ready()]
        self._reading = [group for group in self._reading if group.rows]
        for part in ready:
            yield from self._each(part, self._begin)

    def _read_some(self, group: Reading) -> Iterable[Event | Failed]:
        steps = group.steps
        if self._clock is not None:
            steps = min(steps, self._clock.steps(group, MOST_STEPS) or FIRST_READ)
        began = perf_counter()
        group.read(steps)
        if self._clock is not None:
            self._clock.note(group, (perf_counter() - began) / steps)
        self._reading.append(group)
        return ()

    def _begin(self, ready: Reading) -> Iterable[Event | Failed]:
        group = ready.begin(self._forbidden)
        if self._clock is not None and self._clock.turn(self.running) <= SHORT_TURN:
            group.has_own_turn = False
        self._writing.append(group)
        return self._tell(group, [row.rest() if row.finish_reason else "" for row in group.rows])

    def _write(self, group: Writing, share: float) -> Iterable[Event | Failed]:
        """Write a chunk of each row, in a share of the time of a turn."""
        if self._clock is None:
            chunk = group.chunk
        elif group.has_own_turn:
            chunk = group.preferred or FIRST_STEPS
        else:
            most = MOST_STEPS_WRITTEN if group.is_endless else MOST_STEPS_TO_END
            share *= NEW_ROWS_FACTOR if group.has_new else 1
            known = self._clock.steps(group, most, share) or STEPS_STREAMED
            chunk = group.preferred or max(FIRST_STEPS, known)
        steps = min(chunk, group.steps_left)
        began = perf_counter()
        found = group.write(steps, in_graph=self._may_have_graph(group.rows[0].chain))
        seconds = perf_counter() - began
        if self._clock is not None:
            self._clock.note(group, seconds / steps)
        elif group.may_grow and seconds < LOOK_EVERY / 2:
            group.chunk *= 2
        self._writing.append(group)
        return self._tell(group, found)

    def _may_have_graph(self, chain: Chain) -> bool:
        """Whether the runtime may make a graph for the form of a chain."""
        if chain.is_common:
            return True
        if len(self._forms) < MOST_FORMS:
            self._forms.add(chain.form)
        return chain.form in self._forms

    def _tell(self, group: Group, found: Sequence[str | Exception]) -> list[Event | Failed]:
        """Say what came of each row of a group; those that have ended leave it."""
        events: list[Event | Failed] = []
        for row, text in zip(group.rows, found, strict=True):
            job = self._job_of.get(row)
            if job is None:  # another row of its job has failed
                continue
            if isinstance(text, Exception):
                events.append(self._fail(job, text))
            elif row.finish_reason is not None:
                events.append(self._end(job, row, text))
            elif text:
                events.append(Event(job, row.index, text, None))
        self._keep(group)
        return events

    def _each(self, group: G, act: Callable[[G], Iterable[Event | Failed]]) -> Iterator[Event | Failed]:
        """Do something with a group; if that raises, with the rows of each job alone, so that others go on."""
        self._keep(group)
        if not group.rows:
            return
        try:
            events = act(group)
        except Exception as error:
            parts = group.split(self._job_of.__getitem__)
            if len(parts) == 1:
                yield self._fail(self._job_of[group.rows[0]], error)
            else:
                for part in parts:
                    yield from self._each(part, act)
        else:
            yield from events

    def _end(self, job: Job, row: Row, text: str) -> Event:
        self._job_of.pop(row, None)  # it may have been cancelled while it waited
        job._left -= 1
        return Event(job, row.index, text, row.finish_reason)

    def _fail(self, job: Job, error: Exception) -> Failed:
        job.error = error
        for row in job.rows:
            row.cancel()
            self._job_of.pop(row, None)
        self._drop_cancelled()
        return Failed(job, error)

    def _keep(self, group: Group) -> None:
        """Drop the rows of a group that have ended."""
        going = [*map(self._job_of.__contains__, group.rows)]
        if not all(going):
            group.keep(np.flatnonzero(going))


class Clock:
    """Chooses steps so that they take a certain time, more for hundreds of rows.

    The time of a step is that of the quickest chunk of late: what disturbs a chunk makes it longer, never shorter. By
    the mean, chunks would shrink where others take the cores, until a text is all fixed costs.

    Args:
        seconds: the time to take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._quickest: dict[Hashable, float | None] = {}

    def steps(self, group: Group, most: int, share: float = 1.0) -> int | None:
        """The number of steps that take a share of the time, from 1 to ``most``; ``None`` before it is known."""
        quickest = self._quickest.get(_size(group))
        return None if quickest is None else max(1, min(most, int(share * self.turn(len(group.rows)) / quickest)))

    def turn(self, rows: int) -> float:
        """The seconds of a turn of so many rows."""
        return max(self._seconds, SECONDS_PER_ROW * rows)

    def note(self, group: Group, seconds: float) -> None:
        """Note the time of a step. The first one of its kind does not count: it prepares what later ones use."""
        key = _size(group)
        quickest = self._quickest.get(key)
        if key not in self._quickest:
            self._quickest[key] = None
        else:
            self._quickest[key] = seconds if quickest is None else min(seconds, quickest * FORGETS)


def _size(group: Group) -> Hashable:
    """What the time of a step depends on: the graph, and the size of the batch to a power of two."""
    return group.key, len(group.rows).bit_length()


def _joined(groups: Iterable[G]) -> list[G]:
    """Groups, those of the same graph in one."""
    found: dict[Hashable, G] = {}
    for group in groups:
        if not group.rows:
            continue
        if group.key in found:
            found[group.key].join(group)
        else:
            found[group.key] = group
    return list(found.values())


def _check_counts(request: Request) -> None:
    """Check that there is one of everything per row."""
    prompts, chains = len(request.prompts), len(request.chains)
    seeds, labels = len(request.row_seeds or request.prompts), len(request.labels)
    if not prompts == seeds == chains:
        raise OptionError(
            f"there are {prompts} prompts, {seeds} row seeds and {chains} chains; there must be as many of each"
        )
    if request.ids and len(request.ids) != prompts:
        raise OptionError(f"there are {prompts} prompts and ids of {len(request.ids)}; there must be as many of each")
    if labels and labels != prompts:
        raise OptionError(f"there are {prompts} prompts and {labels} labels; there must be as many of each")
