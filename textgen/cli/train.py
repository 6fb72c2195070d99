"""``textgen train``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import typer


def train(
    file: Path | None = typer.Argument(None, help="A text file to train on; short for --set corpus.path=FILE."),
    corpus: str | None = typer.Option(None, help="Corpus, by name; textgen corpora list shows them."),
    model: str | None = typer.Option(None, help="Model, by name: gru (default), lstm, or a plugin's."),
    tokenizer: str | None = typer.Option(None, help="Tokenizer, by name; by default one that suits the corpus."),
    recipe: str | None = typer.Option(None, help="A complete set of options, by name, which others then change."),
    config: Path | None = typer.Option(None, help="Options from a TOML file with the tables corpus, model and so on."),
    assignments: list[str] = typer.Option([], "--set", help="An option, as in model.units=512; may be repeated."),
    epochs: int | None = typer.Option(None, help="Passes over the text."),
    max_steps: int | None = typer.Option(None, help="Stop after this many batches in all."),
    batch_size: int | None = typer.Option(None, help="Rows a batch."),
    seed: int | None = typer.Option(None, help="Seed of weights, batches, dropout and the held-out draw."),
    device: str | None = typer.Option(None, help="auto, cpu or cuda[:N]."),
    on_unknown: Literal["error", "skip", "unk"] | None = typer.Option(
        None, help="Characters that the vocabulary lacks: error, skip or unk."
    ),
    out: Path | None = typer.Option(None, help="Folder of the run; by default a new one in runs/."),
    data_dir: Path | None = typer.Option(
        None, envvar="TEXTGEN_DATA_DIR", help="Folder with the corpora's files, searched before any download."
    ),
    resume: Path | None = typer.Option(None, help="Go on with this run from its last checkpoint."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print the plan as JSON, and train nothing."),
) -> None:
    """Train a model on a corpus, or go on with a run that stopped."""
    import json

    from textgen.api import choose
    from textgen.artifact import find_run
    from textgen.cli.progress import make_display
    from textgen.errors import OptionError
    from textgen.options import merge_settings, parse_settings, read_config
    from textgen.plan import make_plan
    from textgen.plugins import plugins
    from textgen.training import resume as resume_run
    from textgen.training import train as train_run

    training: dict[str, Any] = {
        "epochs": epochs,
        "max_steps": max_steps,
        "batch_size": batch_size,
        "seed": seed,
        "device": device,
    }
    flags: dict[str, dict[str, Any]] = {"training": {name: v for name, v in training.items() if v is not None}}
    if on_unknown is not None:
        flags["tokenizer"] = {"on_unknown": on_unknown}
    settings = [read_config(config) if config else {}, parse_settings(assignments), flags]
    if resume is not None:
        named = {
            "a text file": file,
            "--corpus": corpus,
            "--model": model,
            "--tokenizer": tokenizer,
            "--recipe": recipe,
        }
        for name, value in {**named, "--out": out, "--dry-run": dry_run or None}.items():
            if value is not None:
                raise OptionError(f"{name} does not go with --resume: the run keeps what it began with")
        changes = {table: values for table, values in merge_settings(*settings).items() if values}
        resume_run(find_run(resume), plugins(), make_display(), changes=changes, data_dir=data_dir)
        return
    if file is not None and corpus is not None:
        raise OptionError(f"give either the text file {file} or --corpus {corpus}, not both")
    chosen = choose(
        plugins(),
        corpus=file or corpus,
        model=model,
        tokenizer=tokenizer,
        recipe=recipe,
        settings=merge_settings(*settings),
    )
    plan = make_plan(chosen, plugins(), data_dir)
    if dry_run:
        typer.echo(json.dumps(plan.describe(), indent=1, ensure_ascii=False))
        return
    train_run(plan, plugins(), make_display(), folder=out)
