"""Results of a benchmark: tables, charts and claims, their JSON file, and Markdown from it.

``python -m benchmarks.report FILE`` prints the Markdown of a result.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.charts import Chart, Curve
from benchmarks.markdown import duration, number, table

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Row:
    """The measurements of a contender.

    Attributes:
        name: of the contender.
        note: a choice that it made, such as its number of threads.
        seconds: per item, one value per round.
        memory: peak memory of its process in bytes; 0 if it was not measured.
    """

    name: str
    note: str
    seconds: list[float]
    memory: int = 0


@dataclass(frozen=True)
class Table:
    """Contenders for one job, measured in turn.

    Attributes:
        title: of the job.
        item: the unit that is counted, in the singular.
        shows: ``"time"`` per item, or ``"rate"``: items per second.
        reference: the name of the row that the others are compared with.
        rows: in the order of their turns.
        others: share of the machine's CPU time used by processes other than the contenders, from 0 to 1.
    """

    title: str
    item: str
    shows: Literal["time", "rate"]
    reference: str
    rows: list[Row]
    others: float = 0.0

    def seconds(self, name: str) -> list[float]:
        """Seconds per item of the named row, one value per round."""
        return next(row.seconds for row in self.rows if row.name == name)

    def ratios(self, name: str, divisor: str) -> list[float]:
        """The time of one row divided by that of another, round by round."""
        return [a / b for a, b in zip(self.seconds(name), self.seconds(divisor), strict=True)]

    def ratio(self, name: str) -> float:
        """The median over rounds of a row's time divided by the reference's."""
        return statistics.median(self.ratios(name, self.reference))

    def shown(self, row: Row) -> tuple[str, str, str]:
        """First quartile, median and third quartile of a row, formatted for the table."""
        if self.shows == "time":
            low, middle, high = map(duration, quartiles(row.seconds))
        else:
            low, middle, high = map(number, quartiles([1 / seconds for seconds in row.seconds]))
        return low, middle, high

    def markdown(self) -> str:
        """The title, and a table of ratios, medians and quartiles."""
        unit = f"per {self.item}" if self.shows == "time" else f"{self.item}s per second"
        others = f" ({self.others:.0%} of the CPU was used by other processes)" if self.others >= 0.005 else ""
        columns = ["contender", f"time relative to {self.reference}", unit, "quartiles", "peak memory", ""]
        lines = []
        for row in self.rows:
            low, middle, high = self.shown(row)
            memory = f"{number(row.memory / 1e6)} MB" if row.memory else ""
            lines.append([row.name, number(self.ratio(row.name)), middle, f"{low} to {high}", memory, row.note])
        return f"**{self.title}**{others}\n\n{table(columns, '-rrrr-', lines)}"


@dataclass(frozen=True)
class Figures:
    """A grid of figures that are measured once.

    Attributes:
        title: of the grid.
        columns: the quantities, with their units.
        rows: by name, one figure per column; ``None`` if there is none.
    """

    title: str
    columns: list[str]
    rows: dict[str, list[float | None]]

    def markdown(self) -> str:
        """The title and the grid."""
        lines = [[name, *("" if v is None else number(v, 4) for v in values)] for name, values in self.rows.items()]
        return f"**{self.title}**\n\n{table(['', *self.columns], '-' + 'r' * len(self.columns), lines)}"


@dataclass(frozen=True)
class Claim:
    """A bound that the project has set for itself.

    Attributes:
        text: the claim, without the bound.
        relation: of the median to the bound.
        bound: in ``unit``.
        unit: such as ``"times"`` or ``"µs"``.
        values: as measured, one value per round.
    """

    text: str
    relation: Literal["at least", "at most"]
    bound: float
    unit: str
    values: list[float]

    @property
    def is_met(self) -> bool:
        """True if the median satisfies the bound."""
        measured = statistics.median(self.values)
        return measured >= self.bound if self.relation == "at least" else measured <= self.bound


@dataclass(frozen=True)
class Result:
    """The result of a benchmark.

    Attributes:
        command: the command that produces it.
        created: the time of its start, in ISO 8601.
        machine: see :func:`benchmarks.machine.describe`.
        versions: of distributions, by name.
        tables: measured one after the other.
        claims: tested against the measurements.
        charts: curves over a quantity.
        figures: grids of figures that were measured once.
    """

    command: str
    created: str
    machine: dict[str, Any]
    versions: dict[str, str]
    tables: list[Table] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    figures: list[Figures] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Writes the JSON file."""
        from textgen import write_atomically

        write_atomically(path, json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> Result:
        """Reads a file that :meth:`write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        tables = [Table(**{**table, "rows": [Row(**row) for row in table["rows"]]}) for table in content["tables"]]
        charts = [
            Chart(**{**chart, "curves": [Curve(**curve) for curve in chart["curves"]]})
            for chart in content.get("charts", [])
        ]
        found = {
            "tables": tables,
            "claims": [Claim(**claim) for claim in content["claims"]],
            "charts": charts,
            "figures": [Figures(**figures) for figures in content.get("figures", [])],
        }
        return cls(**{**content, **found})

    def measured_on(self) -> str:
        """The machine and the versions, in one line."""
        machine = ", ".join(f"{name}: {value}" for name, value in self.machine.items())
        return f"{machine}. {', '.join(f'{name} {version}' for name, version in self.versions.items())}."

    def markdown(self) -> str:
        """Machine, claims, tables, charts and figures."""
        parts = [f"`{self.command}`, {self.created}", self.measured_on()]
        if self.claims:
            parts.append(claims_table(self.claims))
        parts += [each.markdown() for each in self.tables]
        parts += [each.markdown() for each in self.charts]
        parts += [each.markdown() for each in self.figures]
        return "\n\n".join(parts)


def claims_table(claims: Sequence[Claim]) -> str:
    """The claims as a Markdown table: measured value, bound, and whether it is met."""
    lines = []
    for claim in claims:
        low, middle, high = quartiles(claim.values)
        spread = f"{number(low)} to {number(high)}" if len(claim.values) > 1 else ""
        bound = f"{claim.relation} {number(claim.bound)} {claim.unit}"
        lines.append([claim.text, number(middle), spread, bound, "met" if claim.is_met else "**not met**"])
    return table(["claim", "measured", "quartiles", "bound", ""], "-rrr-", lines)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First quartile, median and third quartile; a single value is all three."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def quantile(values: Sequence[float], share: float) -> float:
    """The value that a share of the values, from 0 to 1, do not exceed: the nearest one, not a mean of two."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


if __name__ == "__main__":
    print(Result.read(Path(sys.argv[1])).markdown())
