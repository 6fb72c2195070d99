"""How fast text is written: the time of a character in a text alone, and characters a second of 64 texts at once.

``python -m benchmarks.generation [--quick] [--device cpu|cuda]`` measures textgen beside the programs that its recipes
come from, PyTorch, and the time of reading the weights once. Sampling is on; weights are untrained. The result goes to
``benchmarks/results/``, its tables to stdout. What issue 3 claims is claimed for the CPU.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks import machine
from benchmarks.harness import FULL, QUICK, BenchmarkError, Contender, measure
from benchmarks.report import RESULTS, Claim, Result, Table
from benchmarks.subjects import GRU_1024, LSTM_128, Subject
from benchmarks.textgen_runs import RUN, make_runs

#: Texts at once, and the length of each, where characters a second are measured.
BATCH, BATCH_LENGTH = 64, 200

#: Precisions that are of use on a device.
PRECISIONS = {"cpu": ("fp32", "int8"), "cuda": ("fp32", "fp16")}

SOURCE, PYTORCH, FLOOR = "the source's loop", "PyTorch", "reading the weights once"
DISTRIBUTIONS = ("textgen-rnn", "numpy", "onnxruntime", "onnxruntime-gpu", "tensorflow", "keras", "torch")

_notice = partial(print, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generation", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer and shorter turns, for a first look")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    created, described = datetime.now(UTC).isoformat(timespec="seconds"), machine.describe(options.device)
    with tempfile.TemporaryDirectory() as folder:
        try:
            tables = _measure(Path(folder), options.device, quick=options.quick)
        except BenchmarkError as error:
            raise SystemExit(f"benchmarks: {error}") from None
    command = shlex.join(["python", "-m", "benchmarks.generation", *sys.argv[1:]])
    claims = _claims(*tables) if options.device == "cpu" else []
    result = Result(command, created, described, machine.versions(DISTRIBUTIONS), tables, claims)
    kind = ("-quick" if options.quick else "") + ("-cuda" if options.device == "cuda" else "")
    path = RESULTS / f"generation{kind}.json"
    result.write(path)
    _notice(f"written: {path}")
    print(Result.read(path).markdown())


def _measure(folder: Path, device: str, *, quick: bool) -> list[Table]:
    """GRU alone, LSTM alone, GRU in a batch, LSTM in a batch."""
    environment = {
        "TEXTGEN_CACHE_DIR": str(folder / "cache"),  # threads are chosen anew, by the calibration
        "TEXTGEN_PLUGINS": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        **({"CUDA_VISIBLE_DEVICES": "-1"} if device == "cpu" else {}),
    }
    for subject in (GRU_1024, LSTM_128):
        _notice(f"{subject.title}: making a run and its exports")
        make_runs(subject, folder / subject.cell, PRECISIONS[device], environment)
    tables = []
    for batch in (1, BATCH):
        for subject in (GRU_1024, LSTM_128):
            title = f"{subject.title}, " + ("one text" if batch == 1 else f"{batch} texts at once")
            _notice(title)
            contenders = _contenders(subject, folder / subject.cell, batch, device)
            rows, others = measure(contenders, QUICK if quick else FULL, environment=environment, notice=_notice)
            tables.append(Table(title, "character", "time" if batch == 1 else "rate", _onnx("fp32"), rows, others))
    return tables


def _onnx(precision: str) -> str:
    return f"textgen onnx {precision}"


def _contenders(subject: Subject, folder: Path, batch: int, device: str) -> list[Contender]:
    length = subject.length if batch == 1 else BATCH_LENGTH

    def textgen(name: str, path: Path, runtime: str) -> Contender:
        arguments = {"path": str(path), "runtime": runtime, "prompt": subject.prompt, "batch": batch, "length": length}
        return Contender(name, "benchmarks.textgen_runs:make", {**arguments, "device": device})

    found = [textgen(_onnx(precision), folder / precision, "onnx") for precision in PRECISIONS[device]]
    found.append(textgen("textgen keras", folder / RUN, "keras"))
    if batch == 1:
        found.append(_source(subject, device))
        if device == "cpu":
            found += [textgen("textgen numpy", folder / RUN, "numpy"), _floor(subject)]
    found.append(
        Contender(
            PYTORCH,
            "benchmarks.peers.pytorch:make",
            {
                "cell": subject.cell,
                "vocab_size": subject.vocab_size,
                "embedding_dim": subject.embedding_dim,
                "units": subject.units,
                "temperature": subject.temperature,
                "batch": batch,
                "length": length,
                "device": device,
            },
        )
    )
    return found


def _source(subject: Subject, device: str) -> Contender:
    shared = {
        "characters": subject.characters,
        "units": subject.units,
        "temperature": subject.temperature,
        "length": subject.length,
        "device": device,
    }
    if subject.cell == "gru":
        arguments = {**shared, "embedding_dim": subject.embedding_dim, "prompt": subject.prompt}
        return Contender(SOURCE, "benchmarks.peers.keras_gru:make", arguments)
    return Contender(SOURCE, "benchmarks.peers.keras_lstm:make", {**shared, "written": 10})


def _floor(subject: Subject) -> Contender:
    arguments = {"gates": 3 if subject.cell == "gru" else 4, "units": subject.units, "vocab_size": subject.vocab_size}
    return Contender(FLOOR, "benchmarks.peers.weights_floor:make", arguments)


def _claims(gru: Table, lstm: Table, gru_batch: Table, lstm_batch: Table) -> list[Claim]:
    fp32, int8 = _onnx("fp32"), _onnx("int8")
    microseconds = [1e6 * seconds for seconds in lstm.seconds(fp32)]
    return [
        Claim(f"{gru.title}: fp32 over the source's loop", "at least", 12, "times", gru.ratios(SOURCE, fp32)),
        Claim(f"{gru.title}: int8 over the source's loop", "at least", 25, "times", gru.ratios(SOURCE, int8)),
        Claim(f"{gru.title}: fp32 over reading the weights", "at most", 1.4, "times", gru.ratios(fp32, FLOOR)),
        Claim(f"{lstm.title}: fp32, a character", "at most", 25, "µs", microseconds),
        Claim(f"{lstm_batch.title}: fp32 over PyTorch", "at least", 3, "times", lstm_batch.ratios(PYTORCH, fp32)),
        Claim(f"{gru_batch.title}: fp32 over PyTorch", "at least", 1.8, "times", gru_batch.ratios(PYTORCH, fp32)),
    ]


if __name__ == "__main__":
    main()
