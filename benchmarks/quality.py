"""Held-out loss of trained runs, in Keras and as exports.

``python -m benchmarks.quality RUN...`` scores runs on the text that they held out. ``--train`` first trains the
defaults of the three corpora and all recipes, with a tenth of the text held out, which takes hours. The corpora are
read from ``TEXTGEN_DATA_DIR``. Each figure is that of ``textgen evaluate``.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path

from benchmarks.command import Findings, Session, notice, run, textgen
from benchmarks.harness import BenchmarkError
from benchmarks.report import Claim, Figures

PRECISIONS = ("fp32", "fp16", "int8")

#: The runs that ``--train`` trains: the arguments of ``textgen train`` by name.
DEFAULTS = {
    "shakespeare, defaults": ["--corpus", "shakespeare"],
    "agnews, defaults": ["--corpus", "agnews", "--model", "lstm"],
    "dinos, defaults": ["--corpus", "dinos"],
}
RECIPES = ("shakespeare-gru", "shakespeare-gru-stateful", "agnews-lstm", "agnews-lstm-frequency", "dinos-gru")

#: The bound of an export's loss over that of its source, by precision; ``textgen export`` rejects larger ones.
BOUNDS = {"fp16": 1.01, "int8": 1.01}


def find(session: Session) -> Findings:
    runs = {path.name: path for path in session.options.runs}
    if session.options.train:
        runs |= _train(session)
    if not runs:
        raise BenchmarkError("there are no runs to score: name their folders, or give --train")
    rows: dict[str, list[float | None]] = {}
    claims = []
    for name, path in runs.items():
        notice(name)
        exports = {precision: _exported(session, name, path, precision) for precision in PRECISIONS}
        source = _judged(session, path, "keras")
        found = {
            precision: None if export is None else _judged(session, export, "onnx")
            for precision, export in exports.items()
        }
        rows[name] = [source, *found.values()]
        for precision, bound in BOUNDS.items():
            if (loss := found[precision]) is not None:
                claims.append(
                    Claim(f"{name}: loss in {precision} over Keras's", "at most", bound, "times", [loss / source])
                )
    columns = ["keras", *(f"onnx {precision}" for precision in PRECISIONS)]
    return Findings(claims=claims, figures=[Figures("Held-out loss, nats per character", columns, rows)])


def _train(session: Session) -> dict[str, Path]:
    """Trains the runs whose folders do not exist yet; the folders are kept."""
    wanted = DEFAULTS | {recipe: ["--recipe", recipe, "--set", "training.held_out=0.1"] for recipe in RECIPES}
    found = {}
    for name, arguments in wanted.items():
        found[name] = path = session.options.out / name.replace(", ", "-")
        if not path.exists():
            notice(f"training {name}")
            textgen(session, "train", *arguments, "--out", str(path))
    return found


def _exported(session: Session, name: str, path: Path, precision: str) -> Path | None:
    """The run's export; ``None`` if the exporter rejects it."""
    out = session.folder / name / precision
    try:
        textgen(session, "export", str(path), "--onnx", "--precision", precision, "--out", str(out))
    except BenchmarkError as error:
        notice(str(error))
        return None
    return out


def _judged(session: Session, path: Path, runtime: str) -> float:
    """Nats per character of the held-out text. Written texts are not used, so one is enough."""
    about = json.loads((path / "textgen.json").read_text(encoding="utf-8"))
    texts = ["--num", "1"] if about["provenance"]["layout"] == "documents" else []
    answer = textgen(session, "evaluate", str(path), "--runtime", runtime, "--json", *texts)
    return float(json.loads(answer)["held_out"]["nats"])


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="*", type=Path, help="folders of runs to score")
    parser.add_argument("--train", action="store_true", help="also train and score the defaults and the recipes")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="the folder for the runs of --train")


if __name__ == "__main__":
    run("quality", __doc__, find, has_quick=False, add_arguments=_add_arguments)
