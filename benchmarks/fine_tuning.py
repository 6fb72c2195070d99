"""Held-out loss on a short text: a model that was trained on another, longer text and fine-tuned, beside new models.

``python -m benchmarks.fine_tuning [--base RUN] [--minutes N]`` takes the speeches of one speaker in the last fifth of
tiny Shakespeare (31 KB). It fine-tunes on them, with the default options of ``--from``, the weights of ``textgen train
--corpus shakespeare --set training.held_out=0.2``, which has learned from the first four fifths; beside that, it trains
new models, with the defaults for such a text, and with more epochs. Without ``--base`` it trains that run first, which
takes half an hour. All are scored on the same tenth of the speeches, which none of them learns from, and have the same
time. The corpus is read from ``TEXTGEN_DATA_DIR``.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from benchmarks.command import Findings, Session, notice, run
from benchmarks.harness import BenchmarkError, Contender, Lesson, follow
from benchmarks.report import Claim, Figures

SPEAKER, HELD_OUT = "DUKE VINCENTIO", 0.2

#: The claim of issue 14, in nats per character.
BETTER = 0.25

TUNED, NEW, LONGER = "fine-tuned, defaults", "new, defaults", "new, 4 times the epochs"

#: Four times the default number of epochs for such a text.
EPOCHS = 240


def find(session: Session) -> Findings:
    text = session.folder / "speeches.txt"
    text.write_text(_speeches(), encoding="utf-8")
    base = session.options.base or _train_base(session)
    ways: dict[str, dict[str, Any]] = {TUNED: {"from_": str(base)}, NEW: {}, LONGER: {"epochs": EPOCHS}}
    lessons: dict[str, list[Lesson]] = {name: [] for name in ways}
    for seed in range(session.options.seeds):
        for name, arguments in ways.items():
            notice(f"{name}, seed {seed}")
            lessons[name].append(_learn(session, text, seed, **arguments))
    best = {name: [min(lesson.nats) for lesson in found] for name, found in lessons.items()}
    gains = [min(new, longer) - tuned for tuned, new, longer in zip(*best.values(), strict=True)]
    claim = f"{SPEAKER.title()}: held-out loss of the better new model, over that of the fine-tuned one"
    return Findings(
        claims=[Claim(claim, "at least", BETTER, "nats per character more", gains)],
        figures=[_figures(lessons, best, session.options.minutes)],
    )


def _speeches() -> str:
    """The speaker's speeches in the last fifth of the text, which the base has not learned from."""
    from textgen.base.environment import data_folder
    from textgen.plugins.registry import plugins

    corpus = plugins().make("corpus", {"name": "shakespeare"}, data_folder(None))
    text = "".join(corpus.documents())
    tail = text[len(text) - round(len(text) * HELD_OUT) :]
    return "\n\n".join(each for each in tail.split("\n\n") if each.startswith(f"{SPEAKER}:\n")) + "\n"


def _train_base(session: Session) -> Path:
    path = session.folder / "base"
    options = ["--corpus", "shakespeare", "--set", f"training.held_out={HELD_OUT}", "--out", str(path)]
    if subprocess.run([sys.executable, "-m", "textgen", "train", *options], check=False).returncode:
        raise BenchmarkError("the run to begin with could not be trained")
    return path


def _learn(session: Session, text: Path, seed: int, *, from_: str | None = None, epochs: int | None = None) -> Lesson:
    training = {"held_out": 0.1, "seed": seed, "sample_every": 0} | ({"epochs": epochs} if epochs else {})
    settings = {"corpus": {"name": "file", "path": str(text)}, "training": training}
    contender = Contender("textgen", "benchmarks.textgen_training:learn", {"settings": settings, "from_": from_})
    return follow(contender, session.options.minutes, environment=session.environment, notice=notice)


def _figures(lessons: dict[str, list[Lesson]], best: dict[str, list[float]], minutes: float) -> Figures:
    rows: dict[str, list[float | None]] = {}
    for name, nats in best.items():
        error = statistics.stdev(nats) / len(nats) ** 0.5 if len(nats) > 1 else None
        at_best = [s.seconds[s.nats.index(least)] for s, least in zip(lessons[name], nats, strict=True)]
        last = [lesson.seconds[-1] for lesson in lessons[name]]
        rows[name] = [statistics.fmean(nats), error, statistics.fmean(at_best), statistics.fmean(last)]
    columns = ["lowest held-out loss, nats per character", "standard error", "seconds until then", "seconds in all"]
    runs = len(next(iter(lessons.values())))
    return Figures(f"{SPEAKER.title()}, {runs} seeds, at most {minutes:g} minutes each", columns, rows)


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--base", type=Path, help="the run to begin with; by default it is trained first")
    parser.add_argument("--minutes", type=float, default=4.0, help="limit of each training run (default: 4)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each kind (default: 3)")


if __name__ == "__main__":
    run("fine_tuning", __doc__, find, has_quick=False, add_arguments=_add_arguments)
