"""How time and memory grow: with units, layers, vocabulary, prompt, texts at once, plugins; of a training step, too.

``python -m benchmarks.growth [--quick]`` measures one quantity after the other, its values in turns. A power law is
fitted to each curve, and two that meet, to see where it bends.
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

#: What is varied in training, by the name of the option: in words, its values, and what is to be expected of a step.
TRAINING = {
    "length": (
        "characters a row",
        (25, 50, 100, 200, 400),
        "64 rows: each character costs the same, and is kept for the way back: exponent 1.",
    ),
    "batch": (
        "rows a batch",
        (16, 32, 64, 128, 256),
        "Rows of 100 characters: exponent 1, less where products of few rows are slower a row.",
    ),
    "layers": (
        "layers in training",
        (1, 2, 3, 4, 6),
        "64 rows of 100 characters: exponent 1, less where input, head and optimizer still count.",
    ),
}

PLUGINS, QUICK_PLUGINS = (0, 10, 20, 50, 100, 200), (0, 50)

#: The number of plugins, and how much longer ``textgen --help`` may take with them than without: issue 5's bound.
MANY, SLOWER = 50, 1.5

#: Where nothing else is varied.
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
        "A character reads 3 U² recurrent weights of a GRU of U units: exponent 0 while the cost of a step does not "
        "depend on them, 2 once they are all there is to read; it bends there, and where they outgrow a cache."
    )
    return _models(session, "Units", "units", places, lambda units: _subject(units=units), theory)


def _layers(session: Session) -> list[Chart]:
    places = QUICK_LAYERS if session.is_quick else LAYERS
    theory = "Each layer is read once a character: exponent 1, less where what does not depend on them still counts."
    return _models(session, "Layers", "layers", places, lambda layers: _subject(layers=layers), theory)


def _vocabulary(session: Session) -> list[Chart]:
    places = QUICK_VOCABULARY if session.is_quick else VOCABULARY
    theory = (
        "The head reads U weights an id, and the draw looks at each: exponent 0 while the recurrent weights are more, "
        "1 once the ids are."
    )
    return _models(session, "Vocabulary", "ids", places, lambda ids: _subject(vocab_size=ids), theory)


def _models(
    session: Session,
    title: str,
    quantity: str,
    places: Sequence[int],
    subject: Callable[[int], Subject],
    theory: str,
) -> list[Chart]:
    """Time of a character and peak memory, one text, for a model a place."""
    contenders = {}
    for place in places:
        notice(f"{title}: making the run and the export of {place:,}")
        folder = session.folder / title / str(place)
        make_runs(subject(place), folder, ["fp32"], session.environment)
        contenders[place] = _writer(f"{place:,} {quantity}", folder, length=LENGTH)
    return _charts(session, title, quantity, "character", contenders, theory)


def _prompt(session: Session) -> list[Chart]:
    places = QUICK_PROMPT if session.is_quick else PROMPT
    folder = session.folder / "Prompt"
    make_runs(_subject(), folder, ["fp32"], session.environment)
    contenders = {place: _writer(f"{place:,}", folder, prompt="a" * place, length=1) for place in places}
    theory = "The time of the prompt and one character: exponent 0 while a call costs more than the prompt, then 1."
    return _charts(session, "Prompt", "characters of the prompt", "character", contenders, theory)


def _batch(session: Session) -> list[Chart]:
    places = QUICK_BATCH if session.is_quick else BATCH
    folder = session.folder / "Batch"
    make_runs(_subject(), folder, ["fp32"], session.environment)
    contenders = {place: _writer(f"{place:,}", folder, batch=place, length=50) for place in places}
    theory = (
        "The time of a character of each text falls with the texts that share one reading of the weights: exponent -1 "
        "while a step costs the same, 0 once all cores compute."
    )
    return _charts(session, "Texts at once", "texts", "character", contenders, theory)


def _training(session: Session) -> list[Chart]:
    """Time of a step and peak memory, one of length, rows and layers varied."""
    held = {**_subject().shape, "batch": 64, "length": 100, "own_layers": True}
    charts = []
    for option, (quantity, places, theory) in TRAINING.items():
        contenders = {
            place: Contender(f"{place:,}", "benchmarks.textgen_training:make_step", {**held, option: place})
            for place in places
        }
        charts += _charts(session, f"Training: {quantity}", quantity, "step", contenders, theory)
    return charts


def _plugins(session: Session) -> tuple[Chart, Claim]:
    """Start-up with so many distributions installed that each bring a plugin."""
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
    notice("Registry")
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
    theory = "`--help` reads no plugin's code; a list of plugins imports each."
    chart = Chart("Registry", "installed plugins", "milliseconds a command", curves, theory, is_logarithmic=False)
    ratios = [a / b for a, b in zip(*(seconds[f"textgen --help, {place}"] for place in (MANY, 0)), strict=True)]
    return chart, Claim(f"`textgen --help` with {MANY} plugins over none", "at most", SLOWER, "times", ratios)


def _install(folder: Path, count: int) -> None:
    """Distributions on a path, as pip leaves them: each with an entry point, and a module that names a sampler."""
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


def _subject(*, units: int = UNITS_HELD, layers: int = 1, vocab_size: int = 66) -> Subject:
    """A GRU whose vocabulary are the first characters from ``a`` on, and the newline."""
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
    """Code points: the lower-case letters, then those of Chinese characters, of which there are enough."""
    return [*range(ord("a"), ord("z") + 1), *range(0x4E00, 0x4E00 + count)][:count]


def _writer(name: str, folder: Path, *, length: int, batch: int = 1, prompt: str = "a") -> Contender:
    return writer(name, folder / "fp32", "onnx", prompt=prompt, batch=batch, length=length, device="cpu")


def _charts(
    session: Session, title: str, quantity: str, item: str, contenders: Mapping[int, Contender], theory: str
) -> list[Chart]:
    """Two charts, of time and of memory, from contenders by their place."""
    reference = next(iter(contenders.values())).name
    table: Table = session.table(title, item, "time", reference, list(contenders.values()))
    places = [float(place) for place in contenders]

    def curve(values: list[list[float]]) -> list[Curve]:
        return [Curve("textgen" if item == "step" else onnx("fp32"), places, values)]

    rows: list[Any] = table.rows
    return [
        Chart(
            title, quantity, f"µs a {item}", curve([[1e6 * seconds for seconds in row.seconds] for row in rows]), theory
        ),
        Chart(f"{title}: memory", quantity, "peak memory, MB", curve([[row.memory / 1e6] for row in rows])),
    ]


if __name__ == "__main__":
    run("growth", __doc__, find)
