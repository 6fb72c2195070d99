"""Parameters that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from textgen.base.environment import DATA_DIR
from textgen.errors import OptionError

Run = Annotated[
    Path | None, typer.Argument(help="Folder or name of the run; by default the latest.", show_default=False)
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
