"""The time and memory that textgen's commands take from start to end, and the disk space of an installation.

``python -m benchmarks.startup [--quick]`` runs the commands in turn, interleaved with the imports of other libraries.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from benchmarks.command import Findings, Session, notice, run
from benchmarks.processes import Command, measure_commands
from benchmarks.report import Claim, Figures, Table
from benchmarks.subjects import GRU_1024, LSTM_128, Subject
from benchmarks.textgen_runs import RUN, make_runs

PRECISIONS = ("fp32", "fp16", "int8")
LENGTH = 100

PYTHON = "python, doing nothing"
HELP, TYPER, RUNTIME = "textgen --help", "import typer", "import numpy, onnxruntime"

#: ``textgen --help`` as a multiple of importing typer, and ``textgen sample`` of importing NumPy and ONNX Runtime.
HELP_BOUND, SAMPLE_BOUND = 1.3, 2.5


def find(session: Session) -> Findings:
    subjects = (LSTM_128,) if session.is_quick else (GRU_1024, LSTM_128)
    for subject in subjects:
        notice(f"{subject.title}: making a run and its exports")
        make_runs(subject, session.folder / subject.title, PRECISIONS, session.environment)
    rounds = 2 * session.effort.rounds  # starts vary more than other work does
    commands = _commands(session, subjects)
    # Modules are compiled once, as after an installation.
    environment = {**session.environment, "PYTHONDONTWRITEBYTECODE": ""}
    rows = measure_commands(commands, rounds, environment=environment, folder=session.folder)
    table = Table("Whole commands", "run", "time", PYTHON, rows)
    sample = _sample(subjects[-1], LENGTH)
    claims = [
        Claim(f"`{HELP}` over `{TYPER}`", "at most", HELP_BOUND, "times", table.ratios(HELP, TYPER)),
        Claim(f"`{sample}` over `{RUNTIME}`", "at most", SAMPLE_BOUND, "times", table.ratios(sample, RUNTIME)),
    ]
    least = {row.name: min(row.seconds) for row in rows}
    fastest = Figures(
        "Fastest of all rounds",
        ["times"],
        {
            f"{HELP} over {TYPER}": [least[HELP] / least[TYPER]],
            f"{sample} over {RUNTIME}": [least[sample] / least[RUNTIME]],
        },
    )
    return Findings([table], claims, figures=[fastest, _installations(), _exports(session.folder, subjects)])


def _sample(subject: Subject, length: int) -> str:
    return f"textgen sample --length {length}, {subject.title.partition(',')[0]}"


def _commands(session: Session, subjects: Sequence[Subject]) -> list[Command]:
    commands = [
        Command(PYTHON, ["-c", "pass"]),
        Command(TYPER, ["-c", TYPER]),
        Command(HELP, ["-m", "textgen", "--help"]),
        Command("textgen plugins list", ["-m", "textgen", "plugins", "list"]),
        Command(RUNTIME, ["-c", RUNTIME]),
    ]
    for subject in subjects:
        sample = ["-m", "textgen", "sample", str(session.folder / subject.title / "fp32"), "--runtime", "onnx"]
        sample += ["--prompt", subject.prompt, "--seed", "1", "--ignore-eos", "--length"]
        commands += [Command(_sample(subject, length), [*sample, str(length)]) for length in (1, LENGTH)]
    uncached = {"TEXTGEN_CACHE_DIR": os.devnull}  # not a folder: threads are chosen in each run
    name = f"the same, threads not yet chosen, {subjects[-1].title.partition(',')[0]}"
    commands.append(Command(name, [*sample, str(LENGTH)], uncached))
    for library in ("torch", *(() if session.is_quick else ("tensorflow",))):
        if importlib.util.find_spec(library):
            commands.append(Command(f"import {library}", ["-c", f"import {library}"]))
    return commands


def _installations() -> Figures:
    """The disk space of textgen and its requirements, by the lists of files of the installed distributions."""
    rows: dict[str, list[float | None]] = {}
    for name, extras in (("textgen-rnn", ()), ("textgen-rnn[train]", ("train",))):
        needed, missing = required("textgen-rnn", extras)
        label = name + (f" (without {', '.join(missing)}, not installed here)" if missing else "")
        rows[label] = [sum(size(each) for each in needed.values()) / 1e6, float(len(needed))]
    return Figures("Disk space of an installation", ["MB", "distributions"], rows)


def required(name: str, extras: tuple[str, ...] = ()) -> tuple[dict[str, Distribution], list[str]]:
    """A distribution and its requirements on this machine, by name, and the names of those that are not installed."""
    found: dict[str, Distribution] = {}
    missing: list[str] = []
    seen: set[tuple[str, tuple[str, ...]]] = set()
    waiting = [(name, extras)]
    while waiting:
        name, extras = key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            missing.append(name)
            continue
        for line in found[name].requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in ("", *extras)):
                waiting.append((requirement.name.lower(), tuple(sorted(requirement.extras))))
    return found, sorted(set(missing))


def size(found: Distribution) -> int:
    """The bytes of a distribution's files; if it is editable, also of the packages that its entry points name."""
    files = {Path(str(found.locate_file(file))).resolve() for file in found.files or []}
    for module in {entry.value.partition(":")[0].partition(".")[0] for entry in found.entry_points}:
        if (spec := _package(module)) is not None:
            files |= {file.resolve() for file in spec.rglob("*")}
    return sum(file.stat().st_size for file in files if file.is_file())


def _package(module: str) -> Path | None:
    """The folder of a package; ``None`` if the module is a file or does not exist."""
    spec = importlib.util.find_spec(module)
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) if places else None


def _exports(folder: Path, subjects: Sequence[Subject]) -> Figures:
    def room(subject: Subject, part: str) -> float:
        return sum(file.stat().st_size for file in (folder / subject.title / part).rglob("*") if file.is_file()) / 1e6

    names = {RUN: "run", **{precision: f"export, {precision}" for precision in PRECISIONS}}
    rows: dict[str, list[float | None]] = {
        name: [room(subject, part) for subject in subjects] for part, name in names.items()
    }
    return Figures("Disk space of a run and its exports", [f"{s.title}, MB" for s in subjects], rows)


if __name__ == "__main__":
    run("startup", __doc__, find)
