"""Characters per second, and memory, when 1 to 1,024 texts are written at once.

``python -m benchmarks.throughput [--quick] [--device cpu|cuda]`` measures textgen beside PyTorch. Sampling is on;
weights are random. The claims (of issue 3, for 64 texts) are for the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.charts import Chart, Curve
from benchmarks.command import Findings, Session, notice, run
from benchmarks.harness import Contender
from benchmarks.report import Claim, Table
from benchmarks.subjects import GRU_1024, LSTM_128, Subject
from benchmarks.textgen_runs import PRECISIONS, RUN, make_runs, onnx, writer

BATCHES, QUICK_BATCHES = (1, 4, 16, 64, 256, 1024), (1, 64)

#: The number of texts in the claims and in the README.
BATCH = 64

#: The approximate number of characters in all texts of a piece, and the bounds of a text's length.
CHARACTERS, LENGTHS = 12_800, (50, 200)

KERAS, PYTORCH = "textgen keras", "PyTorch"

_RATE = "Proportional to the number of texts while a step costs the same, constant once all cores are busy."
_MEMORY = "Libraries and weights, plus logits and states in proportion to the number of texts."


def find(session: Session) -> Findings:
    tables: list[Table] = []
    charts: list[Chart] = []
    for subject in (GRU_1024, LSTM_128):
        measured = _measure(subject, session)
        tables.append(measured[BATCH])
        charts += _charts(subject, measured)
    return Findings(tables, _claims(*tables) if session.device == "cpu" else [], charts)


def title(subject: Subject, batch: int) -> str:
    """The title of a subject's table for a number of texts."""
    return f"{subject.title}, {batch:,} texts at once"


def _measure(subject: Subject, session: Session) -> dict[int, Table]:
    """One table per number of texts."""
    notice(f"{subject.title}: making a run and its exports")
    folder = session.folder / subject.title
    make_runs(subject, folder, PRECISIONS[session.device], session.environment)
    return {
        batch: session.table(
            title(subject, batch), "character", "rate", onnx("fp32"), _contenders(subject, folder, batch, session)
        )
        for batch in (QUICK_BATCHES if session.is_quick else BATCHES)
    }


def _contenders(subject: Subject, folder: Path, batch: int, session: Session) -> list[Contender]:
    length = min(max(CHARACTERS // batch, LENGTHS[0]), LENGTHS[1])
    shared = {"prompt": subject.prompt, "batch": batch, "length": length, "device": session.device}
    found = [writer(onnx(precision), folder / precision, "onnx", **shared) for precision in PRECISIONS[session.device]]
    if not session.is_quick:
        found.append(writer(KERAS, folder / RUN, "keras", **shared))
    loop = {**subject.shape, "temperature": subject.temperature}
    arguments = {**loop, "batch": batch, "length": length, "device": session.device}
    return [*found, Contender(PYTORCH, "benchmarks.peers.pytorch:make", arguments)]


def _charts(subject: Subject, measured: dict[int, Table]) -> Sequence[Chart]:
    names = [row.name for row in measured[BATCH].rows]
    places = [float(batch) for batch in measured]

    def curve(name: str, memory: bool) -> Curve:
        rows = [(table, next(row for row in table.rows if row.name == name)) for table in measured.values()]
        values = [[row.memory / 1e6] if memory else [1 / seconds for seconds in row.seconds] for table, row in rows]
        return Curve(name, places, values)

    return [
        Chart(
            f"{subject.title}: speed",
            "texts at once",
            "characters per second",
            [curve(name, False) for name in names],
            _RATE,
        ),
        Chart(
            f"{subject.title}: memory",
            "texts at once",
            "peak memory, MB",
            [curve(name, True) for name in names],
            _MEMORY,
        ),
    ]


def _claims(gru: Table, lstm: Table) -> list[Claim]:
    fp32 = onnx("fp32")
    return [
        Claim(f"{lstm.title}: fp32 over PyTorch", "at least", 3, "times", lstm.ratios(PYTORCH, fp32)),
        Claim(f"{gru.title}: fp32 over PyTorch", "at least", 1.8, "times", gru.ratios(PYTORCH, fp32)),
    ]


if __name__ == "__main__":
    run("throughput", __doc__, find, devices=("cpu", "cuda"))
