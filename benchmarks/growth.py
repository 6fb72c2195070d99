"""Growth of time and memory with units, layers, vocabulary, prompt, texts at once, plugins, and in training.

``python -m benchmarks.growth [--quick]`` measures one quantity after the other, its values in turns. It fits a power
law to each curve, and two that meet, to find where the curve bends.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.charts import Chart, Curve
from benchmarks.command import Findings, Session, notice, run
from benchmarks.harness import Contender
from benchmarks.processes import Command, measure_commands
from benchmarks.report import Claim, Table
from benchmarks.subjects import GRU_1024, Subject
from benchmarks.textgen_runs import make_runs, onnx, writer

UNITS, QUICK_UNITS = (64, 128, 256, 512, 1024, 2048), (64, 512, 2048)
LAYERS, QUICK_LAYERS = (1, 2, 3, 4, 6, 8), (1, 4)
VOCABULARY, QUICK_VOCABULARY = (53, 100, 300, 1000, 3000, 10_000), (53, 10_000)
PROMPT, QUICK_PROMPT = (1, 10, 100, 1000, 10_000, 100_000), (10, 1000, 10_000)
BATCH, QUICK_BATCH = (1, 4, 16, 64, 256, 1024), (1, 64, 256)

#: The quantities varied in training, by option: their name, their values, and the expected time per step.
TRAINING = {
    "length": (
        "characters per row",
        (25, 50, 100, 200, 400),
        "64 rows: each character costs the same, and is kept for the backward pass: exponent 1.",
    ),
    "batch": (
        "rows per batch",
        (16, 32, 64, 128, 256),
        "Rows of 100 characters: exponent 1, or less if products of few rows are slower per row.",
    ),
    "layers": (
        "layers",
        (1, 2, 3, 4, 6),
        "64 rows of 100 characters: exponent 1, or less while input, head and optimizer still matter.",
    ),
}

PLUGINS, QUICK_PLUGINS = (0, 10, 20, 50, 100, 200), (0, 50)

#: A number of plugins, and how many times as long ``textgen --help`` may take with them: the bound of issue 5.
MANY, SLOWER = 50, 1.5

#: The values while other quantities are varied.
UNITS_HELD, LENGTH = 256, 200


def find(session: Session) -> Findings:
    charts: list[Chart] = []
    for sweep in (_units, _layers, _vocabulary, _prompt, _batch):
        charts += sweep(session)
    if not session.is_quick:
        charts += _training(session)
    plugins, claim = _plugins(session)
    return Findings(claims=[claim], charts=[*charts, plugins])


def _units(session: Session) -> list[Chart]:
    places = QUICK_UNITS if session.is_quick else UNITS
    theory = (
        "For each character, a GRU of U units reads 3 U² recurrent weights: exponent 0 while the cost of a step does "
        "not depend on them, 2 once reading them dominates; it bends there, and when they outgrow a cache."
    )
    return _models(session, "Units", "units", places, lambda units: make_subject(units=units), theory)


def _layers(session: Session) -> list[Chart]:
    places = QUICK_LAYERS if session.is_quick else LAYERS
    theory = "Each layer is read once per character: exponent 1, or less while other costs still matter."
    return _models(session, "Layers", "layers", places, lambda layers: make_subject(layers=layers), theory)


def _vocabulary(session: Session) -> list[Chart]:
    places = QUICK_VOCABULARY if session.is_quick else VOCABULARY
    theory = (
        "The head reads U weights per id, and the draw looks at each id: exponent 0 while the recurrent weights "
        "dominate, 1 once the ids do."
    )
    return _models(session, "Vocabulary", "ids", places, lambda ids: make_subject(vocab_size=ids), theory)


def _models(
    session: Session,
    title: str,
    quantity: str,
    places: Sequence[int],
    subject: Callable[[int], Subject],
    theory: str,
) -> list[Chart]:
    """Time per character and peak memory of a single text, for one model per place."""
    contenders = {}
    for place in places:
        notice(f"{title}: making the run and the export for {place:,}")
        folder = session.folder / title / str(place)
        make_runs(subject(place), folder, ["fp32"], session.environment)
        contenders[place] = _writer(f"{place:,} {quantity}", folder, length=LENGTH)
    return _charts(session, title, quantity, "character", contenders, theory)


def _prompt(session: Session) -> list[Chart]:
    places = QUICK_PROMPT if session.is_quick else PROMPT
    folder = session.folder / "Prompt"
    make_runs(make_subject(), folder, ["fp32"], session.environment)
    contenders = {place: _writer(f"{place:,}", folder, prompt="a" * place, length=1) for place in places}
    theory = "The time of the prompt plus one character: exponent 0 while a call costs more than the prompt, then 1."
    return _charts(session, "Prompt", "characters of the prompt", "character", contenders, theory)


def _batch(session: Session) -> list[Chart]:
    places = QUICK_BATCH if session.is_quick else BATCH
    folder = session.folder / "Batch"
    make_runs(make_subject(), folder, ["fp32"], session.environment)
    contenders = {place: _writer(f"{place:,}", folder, batch=place, length=50) for place in places}
    theory = (
        "The time per character falls with the number of texts that share one reading of the weights: exponent -1 "
        "while a step costs the same, 0 once all cores are busy."
    )
    return _charts(session, "Texts at once", "texts", "character", contenders, theory)


def _training(session: Session) -> list[Chart]:
    """Time per step and peak memory, with length, rows or layers varied."""
    held = {**make_subject().shape, "batch": 64, "length": 100, "own_layers": True}
    charts = []
    for option, (quantity, places, theory) in TRAINING.items():
        contenders = {
            place: Contender(f"{place:,}", "benchmarks.textgen_training:make_step", {**held, option: place})
            for place in places
        }
        charts += _charts(session, f"Training: {quantity}", quantity, "step", contenders, theory)
    return charts


def _plugins(session: Session) -> tuple[Chart, Claim]:
    """The start-up time with many distributions installed, each with one plugin."""
    places = QUICK_PLUGINS if session.is_quick else PLUGINS
    commands = []
    names = {"textgen --help": ["--help"], "textgen plugins list": ["plugins", "list"]}
    for place in places:
        folder = session.folder / "plugins" / str(place)
        _install(folder, place)
        for name, arguments in names.items():
            found = {"PYTHONPATH": str(folder)}
            commands.append(Command(f"{name}, {place}", ["-m", "textgen", *arguments], found))
    environment = {name: value for name, value in session.environment.items() if name != "TEXTGEN_PLUGINS"}
    notice("Plugins")
    rows = measure_commands(commands, session.effort.rounds, environment=environment, folder=session.folder)
    seconds = {row.name: row.seconds for row in rows}
    curves = [
        Curve(
            name,
            [float(place) for place in places],
            [[1e3 * s for s in seconds[f"{name}, {place}"]] for place in places],
        )
        for name in names
    ]
    theory = "Both commands import the module of every plugin."
    chart = Chart("Plugins", "installed plugins", "milliseconds per command", curves, theory, is_logarithmic=False)
    ratios = [a / b for a, b in zip(*(seconds[f"textgen --help, {place}"] for place in (MANY, 0)), strict=True)]
    return chart, Claim(f"`textgen --help` with {MANY} plugins over none", "at most", SLOWER, "times", ratios)


def _install(folder: Path, count: int) -> None:
    """Writes distributions as pip installs them: each with an entry point and a module that registers a sampler."""
    folder.mkdir(parents=True)
    for number in range(count):
        about = folder / f"textgen_fake_{number}-1.0.dist-info"
        about.mkdir()
        module = f"textgen_fake_{number}"
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: textgen-fake-{number}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[textgen]\nfake-{number} = {module}\n")
        (folder / f"{module}.py").write_text(
            textwrap.dedent(f"""\
                from textgen import hookimpl


                @hookimpl
                def textgen_register_samplers(register):
                    register("fake-{number}", "{module}:Sampler")
                """)
        )


def make_subject(*, units: int = UNITS_HELD, layers: int = 1, vocab_size: int = 66) -> Subject:
    """A GRU whose vocabulary consists of the first characters from ``a`` on and the newline."""
    characters = "\n" + "".join(map(chr, _letters(vocab_size - 1)))
    title = f"GRU {units}×{layers}, V = {vocab_size}"
    return replace(
        GRU_1024,
        title=title,
        units=units,
        layers=layers,
        vocab_size=vocab_size,
        characters=characters,
        tokenizer="char-index",
        prompt="a",
    )


def _letters(count: int) -> list[int]:
    """Code points: the lower-case letters, followed by as many Chinese characters as needed."""
    return [*range(ord("a"), ord("z") + 1), *range(0x4E00, 0x4E00 + count)][:count]


def _writer(name: str, folder: Path, *, length: int, batch: int = 1, prompt: str = "a") -> Contender:
    return writer(name, folder / "fp32", "onnx", prompt=prompt, batch=batch, length=length, device="cpu")


def _charts(
    session: Session, title: str, quantity: str, item: str, contenders: Mapping[int, Contender], theory: str
) -> list[Chart]:
    """Two charts, of time and of memory, from contenders by place."""
    reference = next(iter(contenders.values())).name
    table: Table = session.table(title, item, "time", reference, list(contenders.values()))
    places = [float(place) for place in contenders]

    def curve(values: list[list[float]]) -> list[Curve]:
        return [Curve("textgen" if item == "step" else onnx("fp32"), places, values)]

    rows: list[Any] = table.rows
    return [
        Chart(
            title,
            quantity,
            f"µs per {item}",
            curve([[1e6 * seconds for seconds in row.seconds] for row in rows]),
            theory,
        ),
        Chart(f"{title}: memory", quantity, "peak memory, MB", curve([[row.memory / 1e6] for row in rows])),
    ]


if __name__ == "__main__":
    run("growth", __doc__, find)
