"""How long textgen's commands take from start to end, with how much memory, and how much room an installation needs.

``python -m benchmarks.startup [--quick]`` runs them in turns, beside the imports that other ways of writing begin with.
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
from benchmarks.report import Figures, Table
from benchmarks.subjects import GRU_1024, LSTM_128, Subject
from benchmarks.textgen_runs import RUN, make_runs

PRECISIONS = ("fp32", "fp16", "int8")
LENGTH = 100

PYTHON = "python, doing nothing"


def find(session: Session) -> Findings:
    subjects = (LSTM_128,) if session.is_quick else (GRU_1024, LSTM_128)
    for subject in subjects:
        notice(f"{subject.title}: making a run and its exports")
        make_runs(subject, session.folder / subject.title, PRECISIONS, session.environment)
    rounds = session.effort.rounds
    commands = _commands(session, subjects)
    rows = measure_commands(commands, rounds, environment=session.environment, folder=session.folder)
    table = Table("Whole commands", "run", "time", PYTHON, rows)
    return Findings([table], figures=[_installations(), _exports(session.folder, subjects)])


def _commands(session: Session, subjects: Sequence[Subject]) -> list[Command]:
    found = [
        Command(PYTHON, ["-c", "pass"]),
        Command("textgen --help", ["-m", "textgen", "--help"]),
        Command("textgen plugins list", ["-m", "textgen", "plugins", "list"]),
    ]
    for subject in subjects:
        sample = ["-m", "textgen", "sample", str(session.folder / subject.title / "fp32"), "--runtime", "onnx"]
        sample += ["--prompt", subject.prompt, "--seed", "1", "--ignore-eos", "--length"]
        short = subject.title.partition(",")[0]
        found += [
            Command(f"textgen sample --length 1, {short}", [*sample, "1"]),
            Command(f"textgen sample --length {LENGTH}, {short}", [*sample, str(LENGTH)]),
        ]
    anew = {"TEXTGEN_CACHE_DIR": os.devnull}  # cannot be written to: threads are chosen at each run
    found.append(Command(f"the same, threads not yet chosen, {short}", [*sample, str(LENGTH)], anew))
    for library in ("onnxruntime", "torch", *(() if session.is_quick else ("tensorflow",))):
        if importlib.util.find_spec(library):
            found.append(Command(f"import {library}", ["-c", f"import {library}"]))
    return found


def _installations() -> Figures:
    """Room that textgen and all that it requires take, by the lists of files of the installed distributions."""
    rows: dict[str, list[float | None]] = {}
    for name, extras in (("textgen-rnn", ()), ("textgen-rnn[train]", ("train",))):
        needed, missing = required("textgen-rnn", extras)
        label = name + (f" (without {', '.join(missing)}, not installed here)" if missing else "")
        rows[label] = [sum(size(each) for each in needed.values()) / 1e6, float(len(needed))]
    return Figures("Room of an installation", ["MB", "distributions"], rows)


def required(name: str, extras: tuple[str, ...] = ()) -> tuple[dict[str, Distribution], list[str]]:
    """A distribution and all that it requires here, by name, and the names of those that are not installed."""
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
    """Bytes of a distribution's files; of one in editable mode, of its packages too, as its entry points name them."""
    files = {Path(str(found.locate_file(file))).resolve() for file in found.files or []}
    for module in {entry.value.partition(":")[0].partition(".")[0] for entry in found.entry_points}:
        if (spec := _package(module)) is not None:
            files |= {file.resolve() for file in spec.rglob("*")}
    return sum(file.stat().st_size for file in files if file.is_file())


def _package(module: str) -> Path | None:
    """The folder of a package; ``None`` for a module that is a file, or not there."""
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
    return Figures("Room of a run and of its exports", [f"{s.title}, MB" for s in subjects], rows)


if __name__ == "__main__":
    run("startup", __doc__, find)
