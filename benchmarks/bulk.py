"""A job of many texts: a million dinosaur names of an LSTM 128, with all cores, with one process, and with PyTorch.

``python -m benchmarks.bulk [--quick]`` trains the model (a minute), then runs whole commands in turns: ``textgen sample
--out`` with a worker per core, with a single worker, which has one core, and with a single worker that shares its rows
among all cores; and a plain batch loop in PyTorch with the same weights, one name per line. It compares names per
second, and the memory of the largest process with that of a job of 10,000 names.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.command import Findings, Session, notice, run, textgen
from benchmarks.machine import usable_cores
from benchmarks.processes import Command, measure_commands
from benchmarks.report import Claim, Figures

#: Names of a job, and rounds.
NAMES, QUICK_NAMES = 1_000_000, 50_000
ROUNDS, QUICK_ROUNDS = 2, 1

#: Names of the small job, by which growth of memory is seen.
FEW = 10_000

#: The bounds of issue 19.
OVER_PYTORCH, OVER_ONE, GROWTH = 3.0, 1.7, 1.2

#: Deletes the file that is its last argument, then runs a module, which writes it.
ANEW = """
import runpy, shutil, sys
from pathlib import Path
Path(sys.argv[-1]).unlink(missing_ok=True)
shutil.rmtree(sys.argv[-1] + ".job", ignore_errors=True)
sys.argv.pop(0)
runpy.run_module(sys.argv[0], None, "__main__", alter_sys=True)
"""


def find(session: Session) -> Findings:
    names, rounds = (QUICK_NAMES, QUICK_ROUNDS) if session.is_quick else (NAMES, ROUNDS)
    notice("training the model")
    model = session.folder / "run"
    settings = ["model.units=128", "model.ngram=0", "training.held_out=0"]
    options = [part for setting in settings for part in ("--set", setting)]
    textgen(session, "train", "--corpus", "dinos", "--model", "lstm", *options, "--out", str(model))
    textgen(session, "export", "--onnx", str(model))
    cores = usable_cores()
    shapes = list(dict.fromkeys([(cores, 1), (1, 1), (1, cores)]))  # workers, and cores of each
    commands, short = (
        [*(_job(session, model, number, *shape) for shape in shapes), _peer(session, model, number)]
        for number in (names, FEW)
    )
    measure = partial(measure_commands, environment=session.environment, folder=session.folder)
    few = measure(short[:1], 1)[0]
    rows = measure(commands, rounds, warming=short)
    speed = {row.name: [names / seconds for seconds in row.seconds] for row in rows}
    all_cores, one, *_, pytorch = (row.name for row in rows)
    claims = [
        Claim(
            f"{all_cores} over {pytorch}", "at least", OVER_PYTORCH, "times", _ratios(speed[all_cores], speed[pytorch])
        ),
        Claim(f"{all_cores} over {one}", "at least", OVER_ONE, "times", _ratios(speed[all_cores], speed[one])),
        Claim(
            f"memory of {names:,} names over that of {FEW:,}", "at most", GROWTH, "times", [rows[0].memory / few.memory]
        ),
    ]
    table: dict[str, list[float | None]] = {
        row.name: [sorted(speed[row.name])[len(row.seconds) // 2], row.memory / 1e6] for row in rows
    }
    table[few.name] = [FEW / few.seconds[0], few.memory / 1e6]
    title = f"{names:,} names of an LSTM 128, {cores} cores, from start to exit"
    return Findings(claims=claims, figures=[Figures(title, ["names per second", "largest process, MB"], table)])


def _ratios(ours: list[float], theirs: list[float]) -> list[float]:
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def _job(session: Session, model: Path, names: int, workers: int, cores: int) -> Command:
    """A job of textgen."""
    each = f"{workers} workers" if workers > 1 else f"1 worker with {cores} cores" if cores > 1 else "1 worker"
    options = ["sample", str(model), "--num", str(names), "--seed", "1", "--workers", str(workers)]
    options += ["--set", f"cores={cores}", "--out"]
    path = session.folder / f"names-{workers}-{cores}-{names}.jsonl"
    return _command(f"textgen, {each}, {names:,} names", "textgen", options, path)


def _peer(session: Session, model: Path, names: int) -> Command:
    """The loop in PyTorch."""
    return _command(
        "PyTorch", "benchmarks.peers.pytorch_names", [str(model), str(names)], session.folder / f"peer-{names}.txt"
    )


def _command(name: str, module: str, arguments: list[str], out: Path) -> Command:
    """A command that writes a file anew each time."""
    return Command(name, ["-c", ANEW, module, *arguments, str(out)])


if __name__ == "__main__":
    run("bulk", __doc__, find)
