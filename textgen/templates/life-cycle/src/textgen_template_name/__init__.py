"""Follows runs: a line of JSON when one starts, after each epoch, and when it ends. Heavy imports wait until then."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textgen import hookimpl

if TYPE_CHECKING:
    from textgen_template_name.options import TemplateNameOptions

#: The options of the plugin, which its hooks get as ``options``.
Options = "textgen_template_name.options:TemplateNameOptions"


@hookimpl
def textgen_run_started(folder: Path, settings: Mapping[str, Mapping[str, Any]], options: TemplateNameOptions) -> None:
    write(options, folder, {"event": "started", "settings": settings})


@hookimpl
def textgen_epoch_ended(folder: Path, metrics: Mapping[str, float], options: TemplateNameOptions) -> None:
    write(options, folder, {"event": "epoch", **metrics})


@hookimpl
def textgen_run_ended(folder: Path, status: str, metrics: Mapping[str, float], options: TemplateNameOptions) -> None:
    write(options, folder, {"event": "ended", "status": status, **metrics})


def write(options: TemplateNameOptions, run: Path, line: Mapping[str, Any]) -> None:
    """Adds a line to the file of a run."""
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{run.name}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
