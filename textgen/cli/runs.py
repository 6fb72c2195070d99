"""``textgen runs``: the list of runs, and one run in detail."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from textgen.base.console import folded, notice
from textgen.base.streams import print_json, print_result
from textgen.cli.parameters import AsJson, Run

if TYPE_CHECKING:
    from textgen.runs.manifest import Manifest

app = typer.Typer(help="List the runs, or show one.", no_args_is_help=True)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the runs, the latest first."""
    from textgen.errors import ArtifactError
    from textgen.runs.artifact import Artifact
    from textgen.runs.folder import list_runs, no_runs

    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    for path in list_runs():
        try:
            manifest = Artifact.open(path).manifest
        except ArtifactError as error:
            notice(error)
            continue
        rows.append(
            {
                "run": str(path),
                "status": manifest.status,
                "corpus": manifest.settings["corpus"]["name"],
                "model": manifest.settings["model"]["name"],
                "metrics": manifest.metrics,
            }
        )
        lines.append(_quality(manifest))
    if as_json:
        print_json(rows)
        return
    if not rows:
        notice(no_runs())
    width = max((len(str(row["run"])) for row in rows), default=0)
    for row, quality in zip(rows, lines, strict=True):
        print_result(folded(f"{row['run']:<{width}}  {row['status']:<11}  {quality}", 4))


@app.command()
def show(
    run: Run = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print textgen.json.")] = False,
) -> None:
    """Show a run's settings and metrics, and check its files."""
    from textgen.runs.artifact import Artifact
    from textgen.runs.folder import find_run

    artifact = Artifact.open(find_run(run))
    artifact.verify()
    manifest = artifact.manifest
    if as_json:
        print_json(manifest.model_dump(mode="json"))
        return
    print_result(folded(f"run         {artifact.path} ({manifest.status}, begun {manifest.created})", 12))
    print_result(
        folded(f"made with   {', '.join(f'{name} {version}' for name, version in manifest.versions.items())}", 12)
    )
    print_result(folded(f"vocabulary  {manifest.vocab_size}", 12))
    if manifest.labels:
        print_result(folded(f"labels      {', '.join(manifest.labels)}", 12))
    print_result(folded(f"metrics     {_quality(manifest)}", 12))
    if (refit := manifest.refit) is not None:
        best = f"best after epoch {refit['epoch']}: held out {refit['held_out_loss']:.3f} nats per character"
        print_result(folded(f"refit of    {Path(refit['run']).name}, {best}", 12))
    for line in _describe_lineage(manifest.lineage):
        print_result(folded(f"from        {line}", 12))
    for line in _describe_changes(manifest.changes):
        print_result(folded(f"changed     {line}", 12))
    for table, values in manifest.settings.items():
        settings = ", ".join(_written({name: value for name, value in values.items() if name != "name"}))
        print_result(folded(f"{table:<11} {' '.join(part for part in (values.get('name', ''), settings) if part)}", 12))
    print_result(folded(f"files       {len(manifest.files)}, all as recorded", 12))


def _written(values: Mapping[str, Any]) -> list[str]:
    """Options as ``--set`` takes them, without their table."""
    from shlex import quote

    from textgen.options import set_arguments

    written = []
    for name, value in values.items():
        known = {key: each for key, each in value.items() if each is not None} if isinstance(value, dict) else value
        assigned = set_arguments("", {name: known})[1]
        written.append(f"{name}={quote(assigned.partition('=')[2])}")
    return written


def _describe_lineage(lineage: list[dict[str, Any]]) -> list[str]:
    """A line per run that the weights come from, the latest first: its name, its corpus, its weights."""
    return [f"{Path(run['run']).name} on {run['corpus']}, weights {run['weights_sha256'][:12]}" for run in lineage]


def _describe_changes(changes: list[dict[str, Any]]) -> list[str]:
    """A line per time that a run was resumed with other options: the batch, and the new values."""
    return [
        f"after batch {change['step']}: "
        + ", ".join(f"{table}.{each}" for table, values in change["settings"].items() for each in _written(values))
        for change in changes
    ]


def _quality(manifest: Manifest) -> str:
    from textgen.runs.quality import describe_quality

    return describe_quality(manifest, speed=False) or "no checkpoint yet"
