"""Held-out loss and speed of the tokenizers, per character.

``python -m benchmarks.tokenizers [--out FOLDER]`` trains the same model with each tokenizer on tiny Shakespeare and on
the titles of AG News, exports the runs, and measures how fast each writes. All train for the same number of batches: on
titles the default, about 3,000; on Shakespeare half as many. The runs are kept in the folder, and not trained again.
The corpora are read from ``TEXTGEN_DATA_DIR``.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from benchmarks.command import Findings, Session, notice, run, textgen
from benchmarks.report import Figures, Table
from benchmarks.textgen_runs import writer

#: The options of ``textgen train`` by tokenizer; ``char`` is the default of each corpus.
TOKENIZERS = {
    "char": (),
    "words": ("--tokenizer", "words"),
    "byte-bpe 500": ("--tokenizer", "byte-bpe", "--set", "tokenizer.vocab_size=500"),
    "byte-bpe 2000": ("--tokenizer", "byte-bpe", "--set", "tokenizer.vocab_size=2000"),
}

_MODEL = ("--set", "model.units=256", "--set", "training.sample_every=0")

#: The options of ``textgen train`` by corpus.
CORPORA = {
    "tiny Shakespeare": ("--corpus", "shakespeare", *_MODEL, "--set", "model.dropout=0.2", "--max-steps", "1500"),
    "AG News titles": ("--corpus", "agnews", "--set", "corpus.split=test", *_MODEL, "--set", "model.dropout=0.4"),
}

#: Characters of each text that is written to measure the speed.
LENGTH = 400


def find(session: Session) -> Findings:
    tables: list[Table] = []
    figures: list[Figures] = []
    for corpus, options in CORPORA.items():
        runs = {name: _train(session, corpus, name, [*options, *more]) for name, more in TOKENIZERS.items()}
        columns = ["held-out loss, nats per character", "nats per token", "characters per token", "ids"]
        figures.append(Figures(corpus, columns, {name: _judge(session, path) for name, path in runs.items()}))
        tables.append(_time(session, corpus, runs))
    return Findings(tables, figures=figures)


def _train(session: Session, corpus: str, tokenizer: str, options: list[str]) -> Path:
    path: Path = session.options.out / f"{corpus}-{tokenizer}".replace(" ", "-").lower()
    if not path.exists():
        notice(f"{corpus}: training with {tokenizer}")
        textgen(session, "train", *options, "--out", str(path))
        textgen(session, "export", "--onnx", str(path))
    return path


def _judge(session: Session, path: Path) -> list[float | None]:
    about = json.loads((path / "textgen.json").read_text(encoding="utf-8"))
    few = ["--num", "1"] if about["provenance"]["layout"] == "documents" else []  # written texts are not used
    found = json.loads(textgen(session, "evaluate", str(path), "--runtime", "onnx", "--json", *few))["held_out"]
    return [found["nats"], found["nats_per_token"], found["characters"] / found["tokens"], about["vocab_size"]]


def _time(session: Session, corpus: str, runs: dict[str, Path]) -> Table:
    shared: dict[str, Any] = {"runtime": "onnx", "prompt": "", "batch": 1, "length": LENGTH, "device": "cpu"}
    contenders = [writer(name, path, **shared) for name, path in runs.items()]
    return session.table(f"{corpus}: one text", "character", "time", "char", contenders)


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/tokenizers"), help="the folder for the runs")


if __name__ == "__main__":
    run("tokenizers", __doc__, find, has_quick=False, add_arguments=_add_arguments)
