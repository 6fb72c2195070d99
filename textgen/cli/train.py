"""``textgen train``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textgen.base.streams import print_json, print_result, results
from textgen.cli.parameters import (
    DataDir,
    Device,
    OnUnknown,
    Recipe,
    Tokenizer,
    complete_corpus,
    complete_engine,
    complete_model,
    complete_option,
    complete_run,
    out_path,
)

if TYPE_CHECKING:
    from textgen.runs.artifact import Artifact
    from textgen.training.display import Display
    from textgen.training.plan import Plan

#: Settings by table; later ones take precedence.
Layers = tuple[dict[str, dict[str, Any]], ...]

#: Exit code of a run that was asked to stop, as of a command that Ctrl-C ends, so that scripts can react to it.
INTERRUPTED = 130

#: How assignments to options of an engine begin.
OF_ENGINE = "engine."


def train(
    files: Annotated[
        list[str] | None,  # as paths, ./- and - would be the same
        typer.Argument(
            metavar="[FILE]...",
            help="Text to train on: files, folders, patterns such as 'texts/*.txt', or - for standard input; short for "
            "--set corpus.path=FILE.",
            show_default=False,
        ),
    ] = None,
    corpus: Annotated[
        str | None,
        typer.Option(help="Corpus, by name; textgen corpora list shows them.", autocompletion=complete_corpus),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Model, by name: gru (default), lstm, or a plugin's.", autocompletion=complete_model),
    ] = None,
    tokenizer: Tokenizer = None,
    recipe: Recipe = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file of options, with the tables corpus, model and so on.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="TABLE.OPTION=VALUE",
            help="An option, as in model.units=512; may be repeated. textgen options lists all.",
            autocompletion=complete_option,
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the text.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Stop after this many batches in all.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows per batch.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, batches, dropout and the held-out draw.")] = None,
    device: Device = None,
    on_unknown: OnUnknown = None,
    out: Annotated[
        Path | None,
        typer.Option(parser=out_path, metavar="PATH", help="Folder of the run; by default a new one in runs/."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in --out.")] = False,
    data_dir: DataDir = None,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Begin with the weights of this run, with its model and options.",
            autocompletion=complete_run,
        ),
    ] = None,
    refit: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Train this finished run again on all of its text, for as many epochs as its best weights were; "
            "the new run is not judged.",
            autocompletion=complete_run,
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Resume this run from its last checkpoint.", autocompletion=complete_run)
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write curves to tensorboard/ in the run's folder.")
    ] = False,
    engine: Annotated[
        str | None,
        typer.Option(
            help="Train with several --workers, which this engine starts, such as ray. Its options: --set "
            "engine.OPTION=VALUE.",
            autocompletion=complete_engine,
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=2, help="Processes that train together, for --engine.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan as JSON, and train nothing.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the run's path, status and metrics as JSON; by default its path.")
    ] = False,
) -> None:
    """Train a model on a corpus, fine-tune a run's weights, repeat a run on all of its text, or resume a stopped run.

    --config overrides a recipe, --set overrides both, and options with a name of their own override all of them.
    Ctrl-C stops after the current batch, saves everything, and exits with code 130. The path of the run is printed on
    stdout at the end, as in RUN=$(textgen train my.txt); everything else on stderr.
    """
    from textgen.options import parse_settings
    from textgen.training.train import is_chief

    of_engine = [each for each in assignments or [] if each.startswith(OF_ENGINE)]
    if engine is not None or workers is not None or of_engine:
        raise typer.Exit(_launch(engine, workers, of_engine, dry_run=dry_run))
    training = {"epochs": epochs, "max_steps": max_steps, "batch_size": batch_size, "seed": seed, "device": device}
    layers = (
        parse_settings(assignments or []),
        {"training": _given(training), "tokenizer": _given({"on_unknown": on_unknown})},
    )
    if resume is not None:
        named = {"--corpus": corpus, "--model": model, "--tokenizer": tokenizer, "--recipe": recipe}
        begun = {"--from": from_, "--refit": refit}
        kept = {"a text file": files, **named, **begun, "--out": out, "--overwrite": overwrite, "--dry-run": dry_run}
        artifact = _resume(resume, layers, config, data_dir, kept=kept, tensorboard=tensorboard)
    else:
        names = {"corpus": corpus, "model": model, "tokenizer": tokenizer, "recipe": recipe}
        _check_folder(out, from_ or refit, overwrite=overwrite)
        plan = _plan(files, names, layers, config, data_dir, from_, refit)
        if dry_run:
            print_json(plan.describe())
            return
        artifact = _start(plan, out, overwrite=overwrite, tensorboard=tensorboard)
    if is_chief():
        manifest = artifact.manifest
        report = {"run": str(artifact.path), "status": manifest.status, "metrics": manifest.metrics}
        if as_json:
            print_json(report)
        else:
            print_result(artifact.path)
    if artifact.manifest.status == "interrupted":
        raise typer.Exit(INTERRUPTED)


def _launch(name: str | None, workers: int | None, assignments: list[str], *, dry_run: bool) -> int:
    """Have an engine run this command in several processes; returns the exit code of the first one."""
    import sys

    from textgen.bulk.plan import make_engine
    from textgen.errors import OptionError
    from textgen.options import parse_options
    from textgen.plugins.registry import plugins

    if name is None or workers is None:
        raise OptionError("--engine and --workers belong together, as in --engine ray --workers 4")
    if dry_run:
        raise OptionError("--dry-run trains nothing; leave out --engine and --workers")
    if "TF_CONFIG" in os.environ:
        raise OptionError("TF_CONFIG lists the workers already; unset it, or leave out --engine and --workers")
    options = parse_options([each.removeprefix(OF_ENGINE) for each in assignments])
    return make_engine(plugins(), name, workers, options).train(list(_without_engine(sys.argv[1:])), results())


def _without_engine(arguments: Sequence[str]) -> Iterator[str]:
    """Yields the arguments that are not about the engine."""
    coming = iter(arguments)
    for argument in coming:
        option, equals, value = argument.partition("=")
        if option not in ("--engine", "--workers", "--set"):
            yield argument
        elif not equals and option == "--set":
            value = next(coming, "")
            if not value.startswith(OF_ENGINE):
                yield from (option, value)
        elif not equals:
            next(coming, "")
        elif option == "--set" and not value.startswith(OF_ENGINE):
            yield argument


def _resume(
    run: Path, layers: Layers, config: Path | None, data_dir: Path | None, *, kept: dict[str, Any], tensorboard: bool
) -> Artifact:
    """Resume a run; ``kept`` are options, by name, that cannot be given with it."""
    from textgen.errors import OptionError
    from textgen.plugins.registry import plugins
    from textgen.runs.folder import find_run
    from textgen.training.settings import read_settings
    from textgen.training.train import resume

    for name, value in kept.items():
        if value:
            raise OptionError(f"{name} cannot be combined with --resume: the run keeps what it began with")
    registry = plugins()
    changes = read_settings(registry, {}, *layers, config=config)
    with _display(tensorboard) as display:
        return resume(find_run(run), registry, display, changes=changes, data_dir=data_dir)


def _check_folder(out: Path | None, source: Path | None, *, overwrite: bool) -> None:
    """Check that ``--overwrite`` has a run to replace, other than the one that the new run comes from."""
    from textgen.errors import OptionError
    from textgen.runs.folder import find_run

    if not overwrite:
        return
    if out is None:
        raise OptionError("--overwrite replaces the run that --out names; give --out FOLDER")
    if source is not None and out.resolve() == find_run(source).resolve():
        raise OptionError(f"--out would replace {out}, from which the new run comes; choose another folder")


def _plan(
    files: list[str] | None,
    names: dict[str, str | None],
    layers: Layers,
    config: Path | None,
    data_dir: Path | None,
    from_: Path | None,
    refit: Path | None,
) -> Plan:
    """Plan a new run on text files, on a corpus by name, or on the text of a run."""
    from textgen.errors import OptionError
    from textgen.plugins.registry import plugins
    from textgen.training.plan import make_plan
    from textgen.training.settings import check_taken, read_settings
    from textgen.training.train import open_base, plan_refit

    registry, base, recipe = plugins(), None, names["recipe"]
    if refit is not None:
        named = {f"--{name}": value for name, value in names.items()}
        check_taken("--refit", {"a text file": files or None, **named, "--from": from_})
        return plan_refit(refit, registry, read_settings(registry, {}, *layers, config=config), data_dir)
    if files and names["corpus"] is not None:
        raise OptionError(f"give either the text file {files[0]} or --corpus {names['corpus']}, not both")
    if from_ is not None:
        check_taken("--from", {f"--{name}": names[name] for name in ("model", "tokenizer", "recipe")})
        base = open_base(from_, registry)
    chosen = {"corpus": files or names["corpus"], "model": names["model"], "tokenizer": names["tokenizer"]}
    settings = read_settings(registry, chosen, *layers, recipe=recipe, config=config)
    return make_plan(settings, registry, data_dir, recipe=recipe, base=base)


def _start(plan: Plan, out: Path | None, *, overwrite: bool, tensorboard: bool) -> Artifact:
    """Train a new run."""
    from textgen.plugins.registry import plugins
    from textgen.training.train import train

    with _display(tensorboard) as display:
        return train(plan, plugins(), display, folder=out, overwrite=overwrite)


@contextmanager
def _display(tensorboard: bool) -> Iterator[Display]:
    from textgen.training.display import make_display
    from textgen.training.tensorboard import TensorBoardDisplay

    with make_display() as display:
        yield TensorBoardDisplay(display) if tensorboard else display


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
