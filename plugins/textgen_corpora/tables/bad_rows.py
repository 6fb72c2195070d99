"""Rows of tables, and what is done about those that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from textgen.errors import CorpusError, shortened

#: Characters of a row that an error shows.
_SHOWN = 60


class BadRow(Exception):
    """A row that has no text, or no label.

    Args:
        fault: what is wrong; continues "table.csv, line 3".
        advice: what to do, where that is not to correct the row.
    """

    def __init__(self, fault: str, advice: str = "") -> None:
        super().__init__(fault)
        self.advice = advice


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        line: the number of its first line, from 1.
        source: its first line as it stands in the file.
        value: its cells, or its JSON value.
        fault: why it cannot be read; then it has no value.
    """

    line: int
    source: str
    value: Any = None
    fault: str | None = None


class BadRows:
    """Reports bad rows as errors, or counts them.

    Args:
        skip: whether to skip and count them.
        skipping: makes the command that skips them.

    Attributes:
        count: how many were skipped so far.
        has_good: whether a row was good so far.
    """

    def __init__(self, skip: bool, skipping: Callable[[], str]) -> None:
        self.count = 0
        self.has_good = False
        self._skip, self._skipping = skip, skipping
        self._first = ""

    def handle(self, name: str, row: Row, fault: BadRow, are_others_good: Callable[[], bool]) -> None:
        """Skips a row and counts it.

        Args:
            name: of the file.
            row: the bad one.
            fault: why it is bad.
            are_others_good: whether a row is left if bad ones are skipped; it may read the rows that follow.

        Raises:
            CorpusError: if rows are not to be skipped.
        """
        source = row.source.rstrip("\n")
        what = f"{name}, line {row.line}{fault}, in the row {shortened(source, _SHOWN)}"
        if not self._skip:
            if fault.advice:
                raise CorpusError(f"{what}; {fault.advice}")
            skipping = f", or leave such rows out: {self._skipping()}" if are_others_good() else ""
            raise CorpusError(f"{what}; correct it{skipping}")
        self.count += 1
        self._first = self._first or what

    def summary(self) -> str:
        """How many rows were skipped, and why the first one was; empty if there were none."""
        rows = "1 bad row is" if self.count == 1 else f"{self.count:,} bad rows are"
        return f"{rows} left out; the first: {self._first}" if self.count else ""
