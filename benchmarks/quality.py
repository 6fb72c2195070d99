"""Held-out loss of trained runs: the defaults beside an n-gram, and exports beside Keras.

``python -m benchmarks.quality RUN...`` scores runs on the text that they held out. ``--train`` first trains the
defaults of the corpora with several seeds, and all recipes, with a tenth of the text held out, which takes hours;
``--corpora NAME...`` trains the defaults of some corpora only. The names are few, so ten folds judge their defaults,
too, each beside an n-gram. The corpora are read from ``TEXTGEN_DATA_DIR``. Each figure is that of ``textgen evaluate``.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.command import Findings, Session, notice, run, textgen
from benchmarks.harness import BenchmarkError
from benchmarks.report import Claim, Figures

PRECISIONS = ("fp32", "fp16", "int8")

#: The defaults that ``--train`` trains: the arguments of ``textgen train`` by corpus, and the bound of their loss.
DEFAULTS = {
    "shakespeare": ["--corpus", "shakespeare"],
    "agnews": ["--corpus", "agnews", "--model", "lstm"],
    "dinos": ["--corpus", "dinos"],
}
MOST = {"shakespeare": 1.43, "agnews": 1.54}

#: The corpora whose defaults are judged by folds: their number, and the bound of the mean loss.
FOLDS = {"dinos": (10, 1.33)}

#: The windows in which a stream is judged, too, and the bound of the loss: those of nanoGPT, whose loss is 1.4697.
CONTEXT, MOST_IN_WINDOWS = 256, 1.445

#: The recipes hold nothing out.
HELD_OUT = ("--set", "training.held_out=0.1")
RECIPES = ("shakespeare-gru", "shakespeare-gru-stateful", "agnews-lstm", "agnews-lstm-frequency", "dinos-gru")

#: The bound of an export's loss over that of its source, by precision; ``textgen export`` rejects larger ones.
BOUNDS = {"fp16": 1.01, "int8": 1.01}


def find(session: Session) -> Findings:
    options = session.options
    runs = {path.name: path for path in options.runs}
    corpora = options.corpora if options.corpora is not None else [*DEFAULTS] if options.train else []
    trained = {name: _train_defaults(session, name) for name in corpora}
    runs |= {f"{name}, defaults": paths[0] for name, paths in trained.items()}
    if options.train and options.corpora is None:
        runs |= {name: _trained(session, name, ["--recipe", name, *HELD_OUT]) for name in RECIPES}
    if not runs:
        raise BenchmarkError("no runs to score: name their folders, or give --train or --corpora")
    claims, figures = _compare_with_ngrams(session, trained)
    rows: dict[str, list[float | None]] = {}
    for name, path in runs.items():
        notice(name)
        exports = {precision: _exported(session, name, path, precision) for precision in PRECISIONS}
        source = _judged(session, path, "keras")["held_out"]["nats"]
        found = {
            precision: None if export is None else _judged(session, export, "onnx")["held_out"]["nats"]
            for precision, export in exports.items()
        }
        rows[name] = [source, *found.values()]
        for precision, bound in BOUNDS.items():
            if (loss := found[precision]) is not None:
                claims.append(
                    Claim(f"{name}: loss in {precision} over Keras's", "at most", bound, "times", [loss / source])
                )
    columns = ["keras", *(f"onnx {precision}" for precision in PRECISIONS)]
    return Findings(claims=claims, figures=[*figures, Figures("Held-out loss, nats per character", columns, rows)])


def _compare_with_ngrams(session: Session, trained: dict[str, list[Path]]) -> tuple[list[Claim], list[Figures]]:
    """The losses of the defaults, and of n-grams counted in the same text: means, and standard errors of the means."""
    claims: list[Claim] = []
    by_seed: dict[str, list[float | None]] = {}
    for name, paths in trained.items():
        found = [_judged(session, path, "numpy") for path in paths]
        losses = [each["held_out"]["nats"] for each in found]
        by_seed[name] = _row(losses, [each["ngram"]["nats"] for each in found])
        if name in MOST:
            claims.append(Claim(f"{name}, defaults: held-out loss", "at most", MOST[name], "nats", [fmean(losses)]))
        if found[0]["documents"] is None:
            windows = [_judged(session, path, "numpy", "--context", str(CONTEXT)) for path in paths]
            cut = [each["held_out"]["nats"] for each in windows]
            title = f"{name}, windows of {CONTEXT}"
            by_seed[title] = _row(cut, [each["ngram"]["nats"] for each in windows])
            claims.append(Claim(f"{title}: held-out loss", "at most", MOST_IN_WINDOWS, "nats", [fmean(cut)]))
    columns = ["nats per character", "standard error", "n-gram", "difference", "standard error"]
    seeds = session.options.seeds
    figures = [Figures(f"The defaults beside an n-gram, {seeds} seeds, each with a split of its own", columns, by_seed)]
    for name, (folds, most) in FOLDS.items():
        if name in trained:
            counted = _trained(session, f"{name}-ngram", ["--corpus", name, "--model", "ngram"])
            losses, ngrams = (_folds(session, path, folds) for path in (trained[name][0], counted))
            claims.append(Claim(f"{name}, defaults: loss, {folds} folds", "at most", most, "nats", [fmean(losses)]))
            figures.append(Figures(f"{folds} folds, paired", columns, {name: _row(losses, ngrams)}))
    return claims, figures if trained else []


def _row(losses: Sequence[float], ngrams: Sequence[float]) -> list[float | None]:
    differences = [loss - ngram for loss, ngram in zip(losses, ngrams, strict=True)]
    return [fmean(losses), _error(losses), fmean(ngrams), fmean(differences), _error(differences)]


def _error(values: Sequence[float]) -> float | None:
    """The standard error of the mean."""
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else None


def _folds(session: Session, path: Path, folds: int) -> list[float]:
    """Nats per character of each fold."""
    notice(f"{path.name}, {folds} folds")
    answer = textgen(session, "evaluate", str(path), "--folds", str(folds), "--json")
    return [float(fold["nats"]) for fold in json.loads(answer)["folds"]]


def _train_defaults(session: Session, name: str) -> list[Path]:
    return [
        _trained(session, f"{name}-defaults-{seed}", [*DEFAULTS[name], "--set", f"training.seed={seed}"])
        for seed in range(session.options.seeds)
    ]


def _trained(session: Session, name: str, arguments: Sequence[str]) -> Path:
    """A run, trained unless its folder exists; the folder is kept."""
    path: Path = session.options.out / name
    if not path.exists():
        notice(f"training {name}")
        textgen(session, "train", *arguments, "--set", "training.sample_every=0", "--out", str(path))
    return path


def _exported(session: Session, name: str, path: Path, precision: str) -> Path | None:
    """The run's export; ``None`` if the exporter rejects it."""
    out = session.folder / name / precision
    try:
        textgen(session, "export", str(path), "--onnx", "--precision", precision, "--out", str(out))
    except BenchmarkError as error:
        notice(str(error))
        return None
    return out


def _judged(session: Session, path: Path, runtime: str, *arguments: str) -> dict[str, Any]:
    """What ``textgen evaluate`` finds. Written texts are not used, so one is enough."""
    found: dict[str, Any] = json.loads(
        textgen(session, "evaluate", str(path), "--runtime", runtime, "--num", "1", "--json", *arguments)
    )
    return found


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="*", type=Path, help="folders of runs to score")
    parser.add_argument("--train", action="store_true", help="also train and score the defaults and the recipes")
    parser.add_argument("--corpora", nargs="*", choices=[*DEFAULTS], help="train and score only these defaults")
    parser.add_argument("--seeds", type=int, default=3, help="of the defaults, by default 3")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="the folder for the runs of --train")


if __name__ == "__main__":
    run("quality", __doc__, find, has_quick=False, add_arguments=_add_arguments)
