"""``textgen evaluate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from textgen.base.console import folded
from textgen.base.streams import print_json, print_result, results
from textgen.cli.parameters import AsJson, DataDir, Device, Run, TrustGraph, complete_chain, complete_runtime

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from textgen.evaluation.evaluation import Evaluation, Table
    from textgen.evaluation.folds import CrossValidation
    from textgen.runs.artifact import Trust

#: The path of the plot in the run's folder.
PLOT = "plots/evaluation.png"


def evaluate(
    run: Run = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            help="What runs the model: auto (default), numpy, onnx, keras, or a plugin's.",
            autocompletion=complete_runtime,
        ),
    ] = None,
    device: Device = None,
    trust_graph: TrustGraph = False,
    context: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Also read a stream in windows of this many tokens, each from the initial state; "
            "by default only with the state carried through the whole text.",
        ),
    ] = None,
    num: Annotated[
        int | None,
        typer.Option(min=1, help="Texts to write; by default 1,000, or of a stream 20,000 characters in all."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the texts; by default 0.")] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help="Chain that draws the texts, as in 'temperature(0.8) | multinomial'.", autocompletion=complete_chain
        ),
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Temperature of the texts, instead of the chain's.")] = None,
    curve: Annotated[
        bool, typer.Option("--curve", help="Also write texts at temperatures from 0.4 to 1.2, and name the best one.")
    ] = False,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2, help="Judge the run's options instead, by cross-validation: one model per fold of the documents."
        ),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Judge a run by its held-out text, and what it writes by its training text."""
    from dataclasses import asdict

    from textgen.api import cross_validate, load
    from textgen.base.console import show_progress
    from textgen.errors import OptionError
    from textgen.files.writing import inside

    texts: dict[str, Any] = {"num": num, "seed": seed, "sampler": sampler, "temperature": temperature}
    if folds is not None:
        flags = {"trust-graph": trust_graph or None, "curve": curve or None}
        for name, value in {"runtime": runtime, **flags, "context": context, **texts}.items():
            if value is not None:
                raise OptionError(
                    f"--{name} cannot be combined with --folds, which trains models of its own and judges those"
                )
        with show_progress() as progress:
            validation = cross_validate(run, folds=folds, device=device, data_dir=data_dir, progress=progress)
        if as_json:
            print_json(asdict(validation))
        else:
            _print_tables(validation.tables())
            _advise_refit(validation)
        return
    trust: Trust = "graph" if trust_graph else "weights"
    generator = load(run, runtime=runtime or "auto", device=device or "auto", trust=trust)
    plot = inside(generator.artifact.path, PLOT)
    with show_progress() as progress:
        evaluation = generator.evaluate(context=context, **texts, curve=curve, data_dir=data_dir, progress=progress)
    if as_json:
        print_json(asdict(evaluation))
    else:
        print_result(folded(evaluation.title))
        _print_tables(evaluation.tables())
    _report(evaluation, plot)


def _report(evaluation: Evaluation, plot: Path) -> None:
    """Warns of a changed corpus, and draws the plot if matplotlib is installed."""
    from textgen.base.console import notice, say
    from textgen.errors import UnavailableError
    from textgen.evaluation.plot import save_evaluation_plot

    if not evaluation.same_text:
        notice(
            f"the corpus {evaluation.corpus} has changed since the run was trained: "
            "the text judged here may have been trained on"
        )
    try:
        save_evaluation_plot(evaluation, plot)
    except UnavailableError:
        pass  # who wants the plot installs matplotlib for it
    except OSError as error:
        notice(f"no plot: {error}")
    else:
        say(f"plot: {plot}")


def _print_tables(tables: Iterable[Table]) -> None:
    for number, table in enumerate(tables):
        if number:
            print_result()
        _print_table(table.head, table.rows)
        if table.note:
            print_result(folded(table.note))


def _advise_refit(validation: CrossValidation) -> None:
    """Tells how to train on all text for the median of the epochs, if the run held text out."""
    from pathlib import Path
    from statistics import median_low

    from textgen.base.console import say
    from textgen.files.writing import quoted
    from textgen.runs.artifact import Artifact

    if "held_out_loss" in Artifact.open(Path(validation.run)).manifest.metrics:
        epochs = median_low(validation.epochs)
        command = f"textgen train --refit {quoted(Path(validation.run))} --set training.stop_after={epochs}"
        say(f"train on all text, for the median of these epochs: {command}")


def _print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Prints a table; without a line for the head if that is empty."""
    from rich.console import Console
    from rich.table import Table

    from textgen.base.console import bare, visible

    shown = visible if results().isatty() else str
    table = Table(*map(shown, head), box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=any(head))
    for row in rows:
        table.add_row(*map(shown, row))
    Console(file=bare(results()), markup=False, emoji=False, highlight=False).print(table)
