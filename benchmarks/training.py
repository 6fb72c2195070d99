"""How fast models learn: the time of a training step, and titles a second through the whole input pipeline.

``python -m benchmarks.training [--quick] [--device cpu|cuda]`` measures textgen's layers beside Keras's and PyTorch's,
and its way with the titles of AG News beside that of the program behind recipe ``agnews-lstm``. The titles are looked
for in ``TEXTGEN_DATA_DIR``. The result goes to ``benchmarks/results/``, its tables to stdout.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from datetime import UTC, datetime
from functools import partial
from typing import Any

from benchmarks import machine
from benchmarks.harness import FULL, QUICK, BenchmarkError, Contender, measure
from benchmarks.report import RESULTS, Claim, Result, Table
from benchmarks.subjects import GRU_1024, LSTM_128, Subject

BATCH, LENGTH = 64, 100

TEXTGEN, KERAS, PYTORCH, SOURCE = "textgen", "Keras's layers", "PyTorch", "the source's program"
DISTRIBUTIONS = ("textgen-rnn", "numpy", "tensorflow", "keras", "torch")

_notice = partial(print, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer turns, for a first look")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    options = parser.parse_args()
    created, described = datetime.now(UTC).isoformat(timespec="seconds"), machine.describe(options.device)
    environment = {
        "TEXTGEN_PLUGINS": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        **({"CUDA_VISIBLE_DEVICES": "-1"} if options.device == "cpu" else {}),
    }
    jobs = [
        (f"{subject.title}, a step of {BATCH} rows of {LENGTH} characters", "step", "time", _steps(subject, options))
        for subject in (GRU_1024, LSTM_128)
    ]
    jobs.append(("AG News titles, LSTM 128", "title", "rate", _titles()))
    tables = []
    try:
        for title, item, shows, contenders in jobs:
            _notice(title)
            rows, others = measure(
                contenders, QUICK if options.quick else FULL, environment=environment, notice=_notice
            )
            tables.append(Table(title, item, shows, TEXTGEN, rows, others))
    except BenchmarkError as error:
        raise SystemExit(f"benchmarks: {error}") from None
    command = shlex.join(["python", "-m", "benchmarks.training", *sys.argv[1:]])
    claims = _claims(*tables) if options.device == "cpu" else []
    result = Result(command, created, described, machine.versions(DISTRIBUTIONS), tables, claims)
    kind = ("-quick" if options.quick else "") + ("-cuda" if options.device == "cuda" else "")
    path = RESULTS / f"training{kind}.json"
    result.write(path)
    _notice(f"written: {path}")
    print(Result.read(path).markdown())


def _steps(subject: Subject, options: argparse.Namespace) -> list[Contender]:
    shared: dict[str, Any] = {
        "cell": subject.cell,
        "vocab_size": subject.vocab_size,
        "embedding_dim": subject.embedding_dim,
        "units": subject.units,
        "batch": BATCH,
        "length": LENGTH,
    }
    return [
        Contender(TEXTGEN, "benchmarks.textgen_training:make_step", {**shared, "own_layers": True}),
        Contender(KERAS, "benchmarks.textgen_training:make_step", {**shared, "own_layers": False}),
        Contender(PYTORCH, "benchmarks.peers.pytorch_training:make", {**shared, "device": options.device}),
    ]


def _titles() -> list[Contender]:
    plain = {"batch_size": 8, "bucket": False}
    return [
        Contender(TEXTGEN, "benchmarks.textgen_training:make_titles", {"options": {}}),
        Contender("textgen, batches of 8", "benchmarks.textgen_training:make_titles", {"options": plain}),
        Contender(
            "textgen's batches, Keras's layers",
            "benchmarks.textgen_training:make_titles",
            {"options": {}, "own_layers": False},
        ),
        Contender(SOURCE, "benchmarks.peers.keras_titles_pipeline:make"),
    ]


def _claims(gru: Table, lstm: Table, titles: Table) -> list[Claim]:
    return [
        Claim(f"{gru.title}: over Keras's layers", "at least", 1.7, "times", gru.ratios(KERAS, TEXTGEN)),
        Claim(f"{gru.title}: over PyTorch", "at least", 1.0, "times", gru.ratios(PYTORCH, TEXTGEN)),
        Claim(f"{lstm.title}: over Keras's layers", "at least", 2.5, "times", lstm.ratios(KERAS, TEXTGEN)),
        Claim(f"{lstm.title}: textgen's time over PyTorch's", "at most", 1.3, "times", lstm.ratios(TEXTGEN, PYTORCH)),
        Claim(f"{titles.title}: over the source's program", "at least", 12, "times", titles.ratios(SOURCE, TEXTGEN)),
    ]


if __name__ == "__main__":
    main()
