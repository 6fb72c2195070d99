"""``textgen train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textgen.cli.parameters import DataDir, Device, OnUnknown

if TYPE_CHECKING:
    from textgen.options import Settings

#: Exit code of a run that was asked to stop, as shells have it for Ctrl-C: what follows in a script can tell.
INTERRUPTED = 130


def train(
    file: Annotated[
        Path | None, typer.Argument(help="A text file to train on; short for --set corpus.path=FILE.")
    ] = None,
    corpus: Annotated[str | None, typer.Option(help="Corpus, by name; textgen corpora list shows them.")] = None,
    model: Annotated[str | None, typer.Option(help="Model, by name: gru (default), lstm, or a plugin's.")] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Tokenizer, by name; by default one that suits the corpus.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A complete set of options, by name, which others then change.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Options from a TOML file with the tables corpus, model and so on.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="TABLE.OPTION=VALUE", help="An option, as in model.units=512; may be repeated."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the text.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Stop after this many batches in all.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows a batch.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, batches, dropout and the held-out draw.")] = None,
    device: Device = None,
    on_unknown: OnUnknown = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; by default a new one in runs/.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in --out.")] = False,
    data_dir: DataDir = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run from its last checkpoint.")] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write curves to tensorboard/ in the run's folder, too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan as JSON, and train nothing.")] = False,
) -> None:
    """Train a model on a corpus, or go on with a run that stopped.

    A recipe gives way to --config, that to --set, and that to the options below that have a name of their own.
    Ctrl-C stops after the batch under way, saves everything, and exits with code 130.
    """
    import json
    from dataclasses import replace

    from textgen.errors import OptionError
    from textgen.options import merge_settings, parse_settings, read_config
    from textgen.plugins.registry import plugins
    from textgen.runs.folder import find_run
    from textgen.training.display import make_display
    from textgen.training.plan import make_plan
    from textgen.training.train import resume as resume_run
    from textgen.training.train import train as train_run

    training = {"epochs": epochs, "max_steps": max_steps, "batch_size": batch_size, "seed": seed, "device": device}
    flags = {"training": _given(training), "tokenizer": _given({"on_unknown": on_unknown})}
    configured = read_config(config) if config else {}
    assigned = merge_settings(parse_settings(assignments or []), flags)
    if resume is not None:
        names = {"--corpus": corpus, "--model": model, "--tokenizer": tokenizer, "--recipe": recipe}
        kept = {"a text file": file, **names, "--out": out, "--overwrite": overwrite, "--dry-run": dry_run}
        for name, value in kept.items():
            if value:
                raise OptionError(f"{name} does not go with --resume: the run keeps what it began with")
        changes = merge_settings(configured, assigned)
        with make_display(tensorboard=tensorboard) as display:
            artifact = resume_run(find_run(resume), plugins(), display, changes=changes, data_dir=data_dir)
    else:
        if file is not None and corpus is not None:
            raise OptionError(f"give either the text file {file} or --corpus {corpus}, not both")
        if overwrite and out is None:
            raise OptionError("--overwrite replaces the run that --out names; give --out FOLDER")
        settings = _choose(configured, assigned, recipe, file or corpus, model, tokenizer)
        plan = replace(make_plan(settings, plugins(), data_dir), recipe=recipe)
        if dry_run:
            print(json.dumps(plan.describe(), indent=1))
            return
        with make_display(tensorboard=tensorboard) as display:
            artifact = train_run(plan, plugins(), display, folder=out, overwrite=overwrite)
    if artifact.manifest.status == "interrupted":
        raise typer.Exit(INTERRUPTED)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _choose(
    configured: Settings,
    assigned: Settings,
    recipe: str | None,
    corpus: str | Path | None,
    model: str | None,
    tokenizer: str | None,
) -> Settings:
    """Everything that was asked for; a table of the configuration for another model, say, than the named one is not."""
    from textgen.api import choose
    from textgen.options import merge_settings
    from textgen.plugins.registry import plugins

    named = choose(plugins(), corpus=corpus, model=model, tokenizer=tokenizer)
    fitting = {
        table: values
        for table, values in configured.items()
        if "name" not in values or values["name"] == named[table].get("name", values["name"])
    }
    return choose(plugins(), recipe=recipe, settings=merge_settings(fitting, assigned, named))
