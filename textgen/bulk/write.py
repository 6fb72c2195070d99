"""Writing a job: chunks to the workers, records from them, parts to the folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

from textgen.base.console import notice
from textgen.bulk.distinct import Distinct
from textgen.bulk.engine import Engine
from textgen.bulk.folder import JobFolder
from textgen.bulk.formats import Format
from textgen.bulk.source import Entry
from textgen.bulk.texts import digest
from textgen.bulk.work import Chunk, Work, Written
from textgen.errors import ArtifactError, OptionError
from textgen.text.encoding import in_pieces

#: A job that draws until enough texts stay gives up when this many in a row did not.
PATIENCE = 100_000

#: Rows left out that are shown; all of them are in a file.
SHOWN = 10

#: Called with the name of the current step, the amount done, and the total.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class WriteReport:
    """What a job has written.

    Attributes:
        path: the file or the folder.
        texts: the number of texts in it.
        drawn: the number of texts that were drawn for them.
        skipped: the number of rows of the input that were left out because they cannot be used.
        seed: of the job.
    """

    path: Path
    texts: int
    drawn: int
    skipped: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that determines a job.

    Attributes:
        job: what determines its texts and its files, as values of JSON.
        folder: that it is written to.
        form: of its records.
        work: what the workers do.
        entries: yields the entries of its input, without the first ones; ``None`` if it has no input.
        per_entry: texts per entry.
        rows: the number of its rows; ``None`` to draw until enough texts stay.
        texts: the number of texts if all rows stay, or to draw until.
        shard_rows: texts per part.
        chunk: rows that are written together.
        unique: whether of equal texts only the first one stays.
        known: yields texts that do not stay; ``None`` if there are none.
        skips: whether rows that cannot be used are left out; otherwise they end the job.
    """

    job: dict[str, Any]
    folder: JobFolder
    form: Format
    work: Work
    entries: Callable[[int], Iterator[Entry]] | None
    per_entry: int
    rows: int | None
    texts: int
    shard_rows: int
    chunk: int
    unique: bool
    known: Callable[[], Iterable[str]] | None
    skips: bool

    def chunks(self, first: int) -> Iterator[Chunk]:
        """Yields the chunks from a row on."""
        if self.entries is None:
            for row in count(first, self.chunk):
                size = self.chunk if self.rows is None else min(self.chunk, self.rows - row)
                if size <= 0:
                    return
                yield Chunk(row, size)
        assert self.entries is not None
        entry, skip = divmod(first, self.per_entry)
        rows = islice((each for each in self.entries(entry) for _ in range(self.per_entry)), skip, None)
        while some := list(islice(rows, self.chunk)):
            yield Chunk(first, len(some), some)
            first += len(some)


def write_job(plan: Plan, engine: Engine, progress: Progress | None = None) -> WriteReport:
    """Write a job, or what is left of it.

    Args:
        plan: of the job.
        engine: with the workers.
        progress: called with ``"texts"``, the number so far, and the number to come to.

    Raises:
        OptionError: if the folder has another job, a row cannot be used, or the model has no more to give.
        UnavailableError: if a file cannot be written, or another process writes the job.
        ArtifactError: if a part cannot be read.
    """
    with plan.folder.claimed(plan.job) as recorded:
        if recorded["status"] != "running" and plan.folder.is_whole(recorded):
            plan.folder.delete_joined()  # the process that wrote it may have been killed before it could
            found = recorded
        else:
            with Distinct() as seen:
                found = _Writing(plan, seen).run(engine, progress or (lambda step, done, total: None))
    texts, drawn = found["texts"], found["drawn"]
    if found["status"] == "exhausted":
        raise OptionError(
            f"the model gives no more: of {PATIENCE:,} texts in a row none was to stay; {plan.folder.out} has the "
            f"{texts:,} of {plan.texts:,} before; ask for fewer, or let more stay"
        )
    return WriteReport(path=plan.folder.out, texts=texts, drawn=drawn, skipped=found["skipped"], seed=plan.job["seed"])


class _Writing:
    """A job under way.

    Args:
        plan: of the job.
        seen: an empty set.
    """

    def __init__(self, plan: Plan, seen: Distinct) -> None:
        self._plan = plan
        self._seen = seen
        self._texts = 0  # that stay
        self._last = -1  # the number of the last row that stays
        self._end = 0  # the number of the row after the last one that was written
        self._parts = 0
        self._records: list[Any] = []  # that are in no part yet, and how many of them
        self._sizes: list[int] = []
        self._skipped: list[tuple[int, str]] = []
        self._shown = 0

    def run(self, engine: Engine, progress: Progress) -> dict[str, Any]:
        """Write the rest; returns what is recorded of the job."""
        plan = self._plan
        if plan.known is not None:
            for some in in_pieces(plan.known()):
                self._seen.add([digest(text) for text in some])
        self._take_up()
        is_exhausted = False
        if not self._is_enough:
            with closing(engine.map(plan.work, plan.chunks(self._end))) as results:
                for written in results:
                    is_exhausted = self._add(written)
                    progress("texts", self._texts if plan.rows is None else self._end, plan.texts)
                    if is_exhausted or self._is_enough:
                        break
        while sum(self._sizes):
            self._write_part(min(plan.shard_rows, sum(self._sizes)))
        plan.folder.note_skipped(self._skipped)
        found = {
            "status": "exhausted" if is_exhausted else "complete",
            "job": plan.job,
            "texts": self._texts,
            "drawn": self._last + 1 if self._is_enough else self._end if plan.rows is None else plan.rows,
            "skipped": len(self._skipped),
        }
        plan.folder.finish(found, plan.form)
        return found

    @property
    def _is_enough(self) -> bool:
        return self._plan.rows is None and self._texts >= self._plan.texts

    def _take_up(self) -> None:
        """Continue after the parts that are written."""
        plan = self._plan
        paths = plan.folder.parts()
        for number, path in enumerate(paths):
            if plan.unique or number == len(paths) - 1:
                self._texts = number * plan.shard_rows
                self._read(path)
        self._parts = len(paths)
        self._end = self._last + 1
        self._skipped = [each for each in plan.folder.skipped() if each[0] < self._end]

    def _read(self, path: Path) -> None:
        seen = []
        try:
            for row, prompt, text in self._plan.form.read(path, ("row", "prompt", "text")):
                self._last = int(row)
                self._texts += 1
                if self._plan.unique:
                    seen.append(digest(prompt + text))
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ArtifactError(f"{path} cannot be read: {error}; delete it, and run the same command again") from None
        self._seen.add(seen)

    def _add(self, written: Written) -> bool:
        """Add what came of a chunk; returns whether the model has no more to give."""
        plan = self._plan
        self._report(written.bad)
        places, is_exhausted = [], False
        for place, (row, stays) in enumerate(zip(written.rows, self._stay(written), strict=True)):
            if self._is_enough:
                break
            if not stays:
                continue
            if plan.rows is None and row - self._last > PATIENCE:
                is_exhausted = True
                break
            self._last = row
            self._texts += 1
            places.append(place)
        every = len(places) == len(written.rows)
        self._records.append(written.records if every else plan.form.take(written.records, places))
        self._sizes.append(len(places))
        self._end = written.first + written.size
        while sum(self._sizes) >= plan.shard_rows:
            self._write_part(plan.shard_rows)
        gap = self._end - 1 - self._last
        return is_exhausted or (plan.rows is None and gap >= PATIENCE and not self._is_enough)

    def _stay(self, written: Written) -> list[bool]:
        """Whether each record stays, by its digest."""
        if self._plan.unique:
            return self._seen.add(written.digests)
        if self._plan.known is not None:
            return [not known for known in self._seen.known(written.digests)]
        return [True] * len(written.rows)

    def _report(self, bad: Sequence[tuple[int, str]]) -> None:
        for row, flaw in bad:
            if not self._plan.skips:
                raise OptionError(f"row {row:,}: {flaw}; to leave such rows out, add: --on-bad-row skip")
            self._shown += 1
            if self._shown <= SHOWN:
                notice(f"row {row:,} is left out: {flaw}")
            elif self._shown == SHOWN + 1:
                notice(f"more rows are left out; all of them are in {self._plan.folder.skipped_path}")
        self._skipped += bad

    def _write_part(self, size: int) -> None:
        """Write the first records that are in no part yet to one."""
        some: list[Any] = []
        left = size
        while left:
            records, number = self._records.pop(0), self._sizes.pop(0)
            if number > left:
                self._records.insert(0, self._plan.form.take(records, range(left, number)))
                self._sizes.insert(0, number - left)
                records, number = self._plan.form.take(records, range(left)), left
            some.append(records)
            left -= number
        self._plan.folder.note_skipped(self._skipped)
        self._plan.folder.write_part(self._parts, self._plan.form.file(some))
        self._parts += 1
