"""Held-out loss over training time: textgen's defaults beside the programs behind two recipes.

``python -m benchmarks.learning [--minutes N]`` trains one after the other, on the same text, scored on the same
held-out text: on the titles of AG News, the program behind ``agnews-lstm`` for an epoch of 120,000 titles, and textgen;
on tiny Shakespeare, the program behind ``shakespeare-gru`` for its 5 epochs, and textgen. It takes hours. The corpora
are read from ``TEXTGEN_DATA_DIR``. Time counts from the start of the process. textgen's time includes scoring, samples
and checkpoints; that of an original program excludes scoring, which it does not do.
"""

from __future__ import annotations

from argparse import ArgumentParser

from benchmarks.charts import Chart, Curve
from benchmarks.command import Findings, Session, notice, run
from benchmarks.harness import Contender, Lesson, follow
from benchmarks.report import Claim, Figures

TITLES, EPOCHS = 120_000, 5

SOURCE, TEXTGEN = "the original program", "textgen's defaults"
AGNEWS, SHAKESPEARE = "AG News titles", "Tiny Shakespeare"

#: The claims of issue 4: the speed-up over the original, and nats per character of Shakespeare within seconds.
TIMES, NATS, WITHIN = 6, 1.50, 3600


def find(session: Session) -> Findings:
    agnews = _learn(
        session,
        AGNEWS,
        Contender(SOURCE, "benchmarks.peers.keras_titles_pipeline:learn", {"titles": TITLES}),
        {"corpus": {"name": "agnews", "split": "test"}, "model": {"name": "lstm"}},
    )
    shakespeare = _learn(
        session,
        SHAKESPEARE,
        Contender(SOURCE, "benchmarks.peers.keras_tutorial_training:learn", {"epochs": EPOCHS}),
        {"corpus": {"name": "shakespeare"}},
    )
    claims = []
    source, textgen = agnews
    reached = textgen.seconds_to(source.nats[-1]) if source.is_whole else None
    if reached is not None:
        text = f"{AGNEWS}: speed-up to the loss of the original after {TITLES:,} titles"
        claims.append(Claim(text, "at least", TIMES, "times", [source.seconds[-1] / reached]))
    textgen = shakespeare[1]
    early = [nats for seconds, nats in zip(textgen.seconds, textgen.nats, strict=True) if seconds <= WITHIN]
    if early:
        text = f"{SHAKESPEARE}: held-out loss within an hour"
        claims.append(Claim(text, "at most", NATS, "nats per character", [min(early)]))
    both = {AGNEWS: agnews, SHAKESPEARE: shakespeare}
    both = {title: lessons for title, lessons in both.items() if any(lesson.nats for lesson in lessons)}
    charts = [_chart(title, *lessons) for title, lessons in both.items()]
    return Findings(claims=claims, charts=charts, figures=[_figures(*pair) for pair in both.items()])


def _learn(session: Session, title: str, source: Contender, settings: dict[str, object]) -> tuple[Lesson, Lesson]:
    textgen = Contender(TEXTGEN, "benchmarks.textgen_training:learn", {"settings": settings})

    def one(contender: Contender) -> Lesson:
        notice(f"{title}: {contender.name}")
        return follow(contender, session.options.minutes, environment=session.environment, notice=notice)

    return one(source), one(textgen)


def _chart(title: str, source: Lesson, textgen: Lesson) -> Chart:
    curves = [
        Curve(name, lesson.seconds, [[nats] for nats in lesson.nats])
        for name, lesson in ((SOURCE, source), (TEXTGEN, textgen))
    ]
    return Chart(title, "seconds", "held-out loss, nats per character", curves, is_logarithmic=False)


def _figures(title: str, lessons: tuple[Lesson, Lesson]) -> Figures:
    source, textgen = lessons
    rows: dict[str, list[float | None]] = {}
    for name, lesson in ((SOURCE, source), (TEXTGEN, textgen)):
        if lesson.nats:
            end = "complete" if lesson.is_whole else "until its time limit"
            rows[f"{name}, {end}"] = [lesson.seconds[-1], lesson.nats[-1], min(lesson.nats)]
    if source.nats:
        rows[f"{TEXTGEN}, to the last loss of the original"] = [textgen.seconds_to(source.nats[-1]), None, None]
    return Figures(title, ["seconds", "last held-out loss, nats per character", "lowest"], rows)


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=90.0, help="limit of each training run (default: 90)")


if __name__ == "__main__":
    run("learning", __doc__, find, has_quick=False, add_arguments=_add_arguments)
