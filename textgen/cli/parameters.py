"""Parameters that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from textgen.base import values
from textgen.base.environment import DATA_DIR
from textgen.errors import OptionError
from textgen.options import PLUGINS, TABLES


def complete(kind: str) -> Callable[[str], list[str]]:
    """A completion of names of a kind. It reads names only: no corpus, model or library is imported."""

    def complete_one(incomplete: str) -> list[str]:
        from textgen.plugins.registry import plugins

        return [item.name for item in plugins().provided(kind) if item.name.startswith(incomplete)]

    return complete_one


complete_corpus, complete_model, complete_tokenizer = complete("corpus"), complete("model"), complete("tokenizer")
complete_runtime, complete_exporter, complete_recipe = complete("runtime"), complete("exporter"), complete("recipe")
complete_engine = complete("engine")


def complete_name(incomplete: str) -> list[str]:
    """Completes a name of any kind."""
    from textgen.plugins.registration import KINDS

    return sorted({name for kind in KINDS for name in complete(kind)(incomplete)})


def complete_table(incomplete: str) -> list[str]:
    """Completes the name of a table."""
    return [table for table in (*TABLES, PLUGINS) if table.startswith(incomplete)]


def complete_run(incomplete: str) -> list[str]:
    """Completes the name of a run in the folder of runs; a path is left to the shell."""
    from textgen.runs.folder import list_runs

    return [name for path in list_runs() if (name := path.name).startswith(incomplete)]


def complete_chain(incomplete: str) -> list[str]:
    """Completes the last sampler of a chain."""
    before, bar, last = incomplete.rpartition("|")
    blank = " " * (len(last) - len(last.lstrip()))
    return [f"{before}{bar}{blank}{name}" for name in complete("sampler")(last.lstrip())]


def complete_option(ctx: typer.Context, incomplete: str) -> list[str]:
    """Completes ``TABLE.OPTION=`` by the corpus, tokenizer and model that are named; by default, those of a stream."""
    table, dot, option = incomplete.partition(".")
    if not dot:
        return [f"{each}." for each in complete_table(table)]
    if "=" in option or table not in (*TABLES, PLUGINS):
        return []
    return [f"{table}.{name}=" for name in _option_names(table, ctx.params) if name.startswith(option)]


def _option_names(table: str, given: Mapping[str, Any]) -> list[str]:
    from textgen.generation.request import GenerationOptions
    from textgen.plugins.registry import plugins

    if table == "generation":
        return [*GenerationOptions.model_fields]
    if table == PLUGINS:
        return [
            f"{plugin}.{option}" for plugin, schema in plugins().schemas().items() for option in schema.model_fields
        ]
    kind = "model" if table == "training" else table
    name = given.get(kind) or {"corpus": "file", "tokenizer": "char-index", "model": "gru"}[kind]
    target = plugins().get(kind, name)
    return [*(target.TrainingOptions if table == "training" else target.Options).model_fields]


Run = Annotated[
    Path | None,
    typer.Argument(
        help="Folder or name of the run; by default the latest.", autocompletion=complete_run, show_default=False
    ),
]

Tokenizer = Annotated[
    str | None,
    typer.Option(help="Tokenizer, by name; by default one that suits the corpus.", autocompletion=complete_tokenizer),
]

Recipe = Annotated[
    str | None,
    typer.Option(
        help="A complete set of options, by name, which other options change.", autocompletion=complete_recipe
    ),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

Device = Annotated[str | None, typer.Option(help="Device: auto, cpu or cuda[:N].", show_default=False)]

TrustGraph = Annotated[
    bool,
    typer.Option(
        "--trust-graph", help="Run the graphs of an export as they are; only if you trust where they come from."
    ),
]

OnUnknown = Annotated[
    Literal["error", "skip", "unk"] | None,
    typer.Option(help="What to do with characters outside the vocabulary.", show_default=False),
]


def out_path(text: str | Path) -> Path:
    """What ``--out`` names; an empty text, as of a variable that is not set, is not the working directory."""
    return values.path(text, "--out")


def _check_data_dir(folder: Path | None) -> Path | None:
    if folder is not None and not folder.is_dir():
        raise OptionError(f"the data folder {folder} is not a folder; correct --data-dir or {DATA_DIR.name}")
    return folder


DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar=DATA_DIR.name,
        help="Folder with the corpora's files, searched before any download.",
        show_default=False,
        callback=_check_data_dir,
    ),
]
