"""Results of a benchmark: tables and claims, their JSON file, and Markdown from it.

``python -m benchmarks.report FILE`` prints the Markdown of a result.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Row:
    """What a contender took.

    Attributes:
        name: of the contender.
        note: what it chose, such as a number of threads.
        seconds: an item, a value a round.
    """

    name: str
    note: str
    seconds: list[float]


@dataclass(frozen=True)
class Table:
    """Contenders for one job, measured in turn.

    Attributes:
        title: of the job.
        item: what is counted, in the singular.
        shows: ``"time"``, microseconds an item, or ``"rate"``, items a second.
        reference: the row that others are divided by.
        rows: in the order in which they took their turns.
        others: share of the machine's CPU time that went to others than the contenders, from 0 to 1.
    """

    title: str
    item: str
    shows: Literal["time", "rate"]
    reference: str
    rows: list[Row]
    others: float = 0.0

    def seconds(self, name: str) -> list[float]:
        """Seconds an item, a value a round, of the row with a name."""
        return next(row.seconds for row in self.rows if row.name == name)

    def ratios(self, name: str, divisor: str) -> list[float]:
        """How many times as long one row took as another, round by round."""
        return [a / b for a, b in zip(self.seconds(name), self.seconds(divisor), strict=True)]

    def markdown(self) -> str:
        """The table, medians and quartiles, under its title."""
        unit = f"µs a {self.item}" if self.shows == "time" else f"{self.item}s a second"
        lines = [
            f"**{self.title}**"
            + (f" ({self.others:.0%} of the CPU went to other work meanwhile)" if self.others else ""),
            "",
            f"| way | {unit} | quartiles | time, as a multiple of {self.reference} | |",
            "| --- | ---: | ---: | ---: | --- |",
        ]
        for row in self.rows:
            values = [1e6 * s if self.shows == "time" else 1 / s for s in row.seconds]
            low, middle, high = quartiles(values)
            ratio = statistics.median(self.ratios(row.name, self.reference))
            spread = f"{_number(low)} to {_number(high)}"
            lines.append(f"| {row.name} | {_number(middle)} | {spread} | {_number(ratio)} | {row.note} |")
        return "\n".join(lines)


@dataclass(frozen=True)
class Claim:
    """A bound that the project has set itself.

    Attributes:
        text: what is claimed, without the bound.
        relation: how the median should lie to the bound.
        bound: in ``unit``.
        unit: such as ``"times"`` or ``"µs"``.
        values: as measured, a value a round.
    """

    text: str
    relation: Literal["at least", "at most"]
    bound: float
    unit: str
    values: list[float]

    @property
    def is_met(self) -> bool:
        """Whether the median keeps the bound."""
        measured = statistics.median(self.values)
        return measured >= self.bound if self.relation == "at least" else measured <= self.bound


@dataclass(frozen=True)
class Result:
    """What a run of a benchmark found.

    Attributes:
        command: that gives it.
        created: when, in ISO 8601.
        machine: see :func:`benchmarks.machine.describe`.
        versions: of distributions, by name.
        tables: measured one after the other.
        claims: held against them.
    """

    command: str
    created: str
    machine: dict[str, Any]
    versions: dict[str, str]
    tables: list[Table]
    claims: list[Claim]

    def write(self, path: Path) -> None:
        """Write the JSON file."""
        from textgen.files import write_atomically

        write_atomically(path, json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> Result:
        """Read what :meth:`write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        tables = [Table(**{**table, "rows": [Row(**row) for row in table["rows"]]}) for table in content["tables"]]
        claims = [Claim(**claim) for claim in content["claims"]]
        return cls(**{**content, "tables": tables, "claims": claims})

    def markdown(self) -> str:
        """Machine, tables and claims."""
        machine = ", ".join(f"{name}: {value}" for name, value in self.machine.items())
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        parts = [f"`{self.command}`, {self.created}", f"{machine}. {versions}.", *(t.markdown() for t in self.tables)]
        return "\n\n".join([*parts, *([_claims(self.claims)] if self.claims else [])])


def _claims(claims: Sequence[Claim]) -> str:
    lines = ["| claim | bound | measured | quartiles | |", "| --- | ---: | ---: | ---: | --- |"]
    for claim in claims:
        low, middle, high = quartiles(claim.values)
        lines.append(
            f"| {claim.text} | {claim.relation} {_number(claim.bound)} {claim.unit} | {_number(middle)} "
            f"| {_number(low)} to {_number(high)} | {'met' if claim.is_met else '**not met**'} |"
        )
    return "\n".join(lines)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median, third quartile of two values or more."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def _number(value: float) -> str:
    """Three significant digits, and thousands set off."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    print(Result.read(Path(sys.argv[1])).markdown())
