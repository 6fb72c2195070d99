"""Training speed: time per training step, and titles per second through the whole input pipeline.

``python -m benchmarks.training [--quick] [--device cpu|cuda]`` measures textgen's layers beside Keras's and PyTorch's,
and its training on the titles of AG News beside the program behind the recipe ``agnews-lstm``. The titles are read from
``TEXTGEN_DATA_DIR``. The claims (of issue 4) are for the CPU.
"""

from __future__ import annotations

from typing import Any

from benchmarks.command import Findings, Session, run
from benchmarks.harness import Contender
from benchmarks.report import Claim, Table
from benchmarks.subjects import GRU_1024, LSTM_128, Subject
from textgen_keras.devices import multiplies_bfloat16

BATCH, LENGTH = 64, 100

TEXTGEN, KERAS, PYTORCH, SOURCE = "textgen", "Keras's layers", "PyTorch", "the original program"
TITLES = "AG News titles, LSTM 128"


def find(session: Session) -> Findings:
    subjects = (LSTM_128,) if session.is_quick else (GRU_1024, LSTM_128)
    tables = {
        s.title: session.table(title(s), "step", "time", TEXTGEN, _steps(s, session.device, session.is_quick))
        for s in subjects
    }
    titles = session.table(TITLES, "title", "rate", TEXTGEN, _titles(session.is_quick))
    claims = _claims(tables.get(GRU_1024.title), tables[LSTM_128.title], titles) if session.device == "cpu" else []
    return Findings([*tables.values(), titles], claims)


def title(subject: Subject) -> str:
    """The title of a subject's table."""
    return f"{subject.title}, a step of {BATCH} rows of {LENGTH} characters"


def _steps(subject: Subject, device: str, is_quick: bool) -> list[Contender]:
    shared: dict[str, Any] = {**subject.shape, "batch": BATCH, "length": LENGTH}
    mixed = {**shared, "mixed_precision": True}
    step = "benchmarks.textgen_training:make_step"
    in_bfloat16 = [
        Contender(f"{TEXTGEN}, mixed precision", step, {**mixed, "own_layers": True}),
        Contender(f"{KERAS}, mixed precision", step, {**mixed, "own_layers": False}),
    ]
    return [
        Contender(TEXTGEN, step, {**shared, "own_layers": True}),
        Contender(KERAS, step, {**shared, "own_layers": False}),
        *(in_bfloat16 if multiplies_bfloat16(device) and not is_quick else []),
        Contender(PYTORCH, "benchmarks.peers.pytorch_training:make", {**shared, "device": device}),
    ]


def _titles(is_quick: bool) -> list[Contender]:
    factory = "benchmarks.textgen_training:make_titles"
    plain = {"batch_size": 8, "bucket": False}
    between = [
        Contender("textgen, batches of 8", factory, {"options": plain}),
        Contender("textgen's batches, Keras's layers", factory, {"options": {}, "own_layers": False}),
    ]
    return [
        Contender(TEXTGEN, factory, {"options": {}}),
        *([] if is_quick else between),
        Contender(SOURCE, "benchmarks.peers.keras_titles_pipeline:make"),
    ]


def _claims(gru: Table | None, lstm: Table, titles: Table) -> list[Claim]:
    of_gru = (
        []
        if gru is None
        else [
            Claim(f"{gru.title}: over Keras's layers", "at least", 1.7, "times", gru.ratios(KERAS, TEXTGEN)),
            Claim(f"{gru.title}: over PyTorch", "at least", 1.0, "times", gru.ratios(PYTORCH, TEXTGEN)),
        ]
    )
    return [
        *of_gru,
        Claim(f"{lstm.title}: over Keras's layers", "at least", 2.5, "times", lstm.ratios(KERAS, TEXTGEN)),
        Claim(f"{lstm.title}: textgen's time over PyTorch's", "at most", 1.3, "times", lstm.ratios(TEXTGEN, PYTORCH)),
        Claim(f"{titles.title}: over the original program", "at least", 12, "times", titles.ratios(SOURCE, TEXTGEN)),
    ]


if __name__ == "__main__":
    run("training", __doc__, find, devices=("cpu", "cuda"))
