"""Writes the Speed section of README.md, and docs/benchmarks.md, from ``benchmarks/results/``.

Run it with: python -m benchmarks.readme
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import generation, throughput, training
from benchmarks.harness import ROOT
from benchmarks.markdown import number, table
from benchmarks.report import RESULTS, Result, Table
from benchmarks.subjects import GRU_1024, LSTM_128, SUBJECTS

README, PAGE = ROOT / "README.md", ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"

#: A module a question, in the order of the page.
MODULES = ("generation", "throughput", "training", "learning", "startup", "quality", "growth")

KERAS_LOOP = "Keras, a loop in Python"

INTRODUCTION = """\
`make bench` measures textgen beside what a user would run instead, one way after the other, in turns, each in a process
of its own. Figures are medians; in brackets the time as a multiple of the first row's. Machines change their speed:
read the ratios. Everything that was measured, and what the project claims, met or not:
[docs/benchmarks.md](docs/benchmarks.md)."""

PAGE_INTRODUCTION = """\
# Benchmarks

This page is written by `python -m benchmarks.readme` from `benchmarks/results/`; a test fails when the two disagree.
`make bench` measures all of it, which takes hours; `make bench-quick` takes a look at most of it in minutes. Each
section has the command that gives it alone, after `pip install -e ".[bench,train,plots]"`.

Ways of doing a job are contenders, each in a process of its own, which sleeps while others run: a round is a turn of
each, and ratios are taken round by round, so that both sides meet the same machine. Figures are medians over rounds,
beside their quartiles. Claims are the bounds that the project has set itself."""


class Column(NamedTuple):
    """A column of a table of the README.

    Attributes:
        head: of the column.
        measured: what it shows.
        names: what its rows are called there, where they are called otherwise.
    """

    head: str
    measured: Table
    names: Mapping[str, str]


def read_results(folder: Path = RESULTS) -> dict[str, Result]:
    """The results by name, such as ``"generation"`` and ``"generation-cuda"``: those that are there."""
    names = [f"{module}{kind}" for module in MODULES for kind in ("", "-cuda")]
    return {name: Result.read(folder / f"{name}.json") for name in names if (folder / f"{name}.json").exists()}


def speed_section(results: Mapping[str, Result]) -> str:
    """What stands between the markers of the README."""
    parts = [INTRODUCTION.replace("\n", " ")]
    for kind, device in (("", "the CPU"), ("-cuda", "a GPU")):
        found = [results[f"{name}{kind}"] for name in MODULES if f"{name}{kind}" in results]
        tables = {each.title: (each, result) for result in found for each in result.tables}
        for head, columns in _readme_tables({title: each for title, (each, _) in tables.items()}):
            of = {id(result): result for column in columns for result in [tables[column.measured.title][1]]}
            parts += [_readme_table(head, columns), *(_measured_by(result) for result in of.values())]
        if not found:
            parts.append(f"There is no figure of {device} yet.")
    return "\n\n".join(parts)


def _readme_tables(tables: Mapping[str, Table]) -> list[tuple[str, list[Column]]]:
    """Heads and columns, of what was measured."""
    steps = {training.title(subject): f"{subject.title.partition(',')[0]}, a step" for subject in (GRU_1024, LSTM_128)}
    layout: dict[str, dict[str, tuple[str, dict[str, str]]]] = {
        "one text, a character": {
            generation.title(s): (s.title.partition(",")[0], {s.source: KERAS_LOOP}) for s in SUBJECTS
        },
        f"{throughput.BATCH} texts at once, characters a second": {
            throughput.title(s, throughput.BATCH): (s.title.partition(",")[0], {}) for s in (GRU_1024, LSTM_128)
        },
        "training": {
            **{title: (head, {}) for title, head in steps.items()},
            training.TITLES: ("AG News, titles a second", {}),
        },
    }
    found = [
        (head, [Column(name, tables[title], names) for title, (name, names) in wanted.items() if title in tables])
        for head, wanted in layout.items()
    ]
    return [(head, columns) for head, columns in found if columns]


def _readme_table(head: str, columns: Sequence[Column]) -> str:
    cells: dict[str, dict[str, str]] = {}
    for column in columns:
        for row in column.measured.rows:
            _, middle, _ = column.measured.shown(row)
            name = column.names.get(row.name, row.name)
            cells.setdefault(name, {})[column.head] = f"{middle} ({number(column.measured.ratio(row.name))})"
    lines = [[name, *(found.get(column.head, "") for column in columns)] for name, found in cells.items()]
    return table([head, *(column.head for column in columns)], "-" + "r" * len(columns), lines)


def _measured_by(result: Result) -> str:
    machine = result.machine
    where = ", ".join(str(machine[label]) for label in ("CPU", "GPU") if label in machine)
    return f"`{result.command}`, {result.created[:10]}, on {machine['cores']} cores of {where}."


def page(results: Mapping[str, Result]) -> str:
    """The content of docs/benchmarks.md."""
    parts = [PAGE_INTRODUCTION]
    for module in MODULES:
        question = (importlib.import_module(f"benchmarks.{module}").__doc__ or "").partition("\n")[0]
        parts += [f"## {module.capitalize()}", question]
        if module not in results:
            parts.append(f"Not measured yet: `python -m benchmarks.{module}`.")
        for name in (module, f"{module}-cuda"):
            if name in results:
                parts.append(results[name].markdown())
                if results[name].charts:
                    parts.append(f"![{name}](../benchmarks/results/{name}.png)")
    return "\n\n".join(parts) + "\n"


def with_section(text: str, section: str) -> str:
    """A text whose part between the markers is another.

    Raises:
        ValueError: where it lacks a marker.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the text has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{section}\n\n{END}{after}"


def main() -> None:
    results = read_results()
    README.write_text(with_section(README.read_text(encoding="utf-8"), speed_section(results)), encoding="utf-8")
    PAGE.write_text(page(results), encoding="utf-8")


if __name__ == "__main__":
    main()
