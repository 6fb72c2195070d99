"""Time per character of a single text, compared with the alternatives that a user would choose.

``python -m benchmarks.generation [--quick] [--device cpu|cuda]`` measures textgen beside the programs that its recipes
come from, tf2onnx, PyTorch, and the time of reading the weights once. Sampling is on; weights are random. The claims
(of issue 3) are for the CPU.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.command import Findings, Session, notice, run
from benchmarks.harness import Contender
from benchmarks.report import Claim, Table
from benchmarks.subjects import GRU_1024, LSTM_128, SUBJECTS, Subject
from benchmarks.textgen_runs import PRECISIONS, RUN, make_runs, onnx, writer

KERAS, NUMPY = "textgen keras", "textgen numpy"
TF2ONNX, PYTORCH, FLOOR = "tf2onnx, a loop in Python", "PyTorch", "reading the weights once"


def find(session: Session) -> Findings:
    subjects = SUBJECTS[:2] if session.is_quick else SUBJECTS
    tables = [_measure(subject, session) for subject in subjects]
    return Findings(tables, _claims(*tables[:2]) if session.device == "cpu" else [])


def title(subject: Subject) -> str:
    """The title of a subject's table."""
    return f"{subject.title}, one text"


def _measure(subject: Subject, session: Session) -> Table:
    notice(f"{subject.title}: making a run and its exports")
    folder = session.folder / subject.title
    make_runs(subject, folder, PRECISIONS[session.device], session.environment)
    contenders = _contenders(subject, folder, session)
    return session.table(title(subject), "character", "time", onnx("fp32"), contenders)


def _contenders(subject: Subject, folder: Path, session: Session) -> list[Contender]:
    device, length = session.device, subject.length
    shared = {"prompt": subject.prompt, "batch": 1, "length": length, "device": device}
    found = [writer(onnx(precision), folder / precision, "onnx", **shared) for precision in PRECISIONS[device]]
    if device == "cpu":
        found.append(writer(NUMPY, folder / RUN, "numpy", **shared))
        floor = {"gates": 3 if subject.cell == "gru" else 4, "units": subject.units, "layers": subject.layers}
        arguments = {**floor, "vocab_size": subject.vocab_size}
        found.append(Contender(FLOOR, "benchmarks.peers.weights_floor:make", arguments))
    loop = {**subject.shape, "temperature": subject.temperature, "length": length}
    found.append(Contender(PYTORCH, "benchmarks.peers.pytorch:make", {**loop, "batch": 1, "device": device}))
    found.append(_source(subject, session))
    if not session.is_quick:
        found.append(writer(KERAS, folder / RUN, "keras", **shared))
        if device == "cpu":
            found.append(Contender(TF2ONNX, "benchmarks.peers.tf2onnx_loop:make", loop))
    return found


def _source(subject: Subject, session: Session) -> Contender:
    shared = {
        "characters": subject.characters,
        "units": subject.units,
        "temperature": subject.temperature,
        "length": subject.length,
        "device": session.device,
    }
    if subject.embedding_dim is None:
        return Contender(
            subject.source, "benchmarks.peers.keras_lstm:make", {**shared, "written": 2 if session.is_quick else 10}
        )
    arguments = {
        **shared,
        "cell": subject.cell,
        "layers": subject.layers,
        "embedding_dim": subject.embedding_dim,
        "prompt": subject.prompt,
    }
    return Contender(subject.source, "benchmarks.peers.keras_tutorial:make", arguments)


def _claims(gru: Table, lstm: Table) -> list[Claim]:
    fp32, int8 = onnx("fp32"), onnx("int8")
    source = GRU_1024.source
    microseconds = [1e6 * seconds for seconds in lstm.seconds(fp32)]
    return [
        Claim(f"{gru.title}: fp32 over the original loop", "at least", 12, "times", gru.ratios(source, fp32)),
        Claim(f"{gru.title}: int8 over the original loop", "at least", 25, "times", gru.ratios(source, int8)),
        Claim(f"{gru.title}: fp32's time over reading the weights", "at most", 1.4, "times", gru.ratios(fp32, FLOOR)),
        Claim(f"{LSTM_128.title}, one text: fp32, per character", "at most", 25, "µs", microseconds),
    ]


if __name__ == "__main__":
    run("generation", __doc__, find, devices=("cpu", "cuda"))
