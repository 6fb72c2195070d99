"""``textgen runs``: the runs of a folder, and one in detail."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(help="List the runs, or show one.", no_args_is_help=True)


@app.command("list")
def list_(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """List the runs, the latest first."""
    import json

    from textgen.artifact import Artifact, list_runs, runs_folder
    from textgen.errors import ArtifactError

    rows = []
    for path in list_runs():
        try:
            manifest = Artifact.open(path).manifest
        except ArtifactError as error:
            typer.echo(f"textgen: {error}", err=True)
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
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    if not rows:
        typer.echo(f"there is no run in {runs_folder()}; make one with: textgen train --corpus dinos-lite", err=True)
    width = max((len(str(row["run"])) for row in rows), default=0)
    for row in rows:
        typer.echo(f"{row['run']:<{width}}  {row['status']:<11}  {_loss(row['metrics'])}")


@app.command()
def show(
    run: Path | None = typer.Argument(None, help="Folder or name of the run; by default the latest."),
    as_json: bool = typer.Option(False, "--json", help="Print textgen.json."),
) -> None:
    """Show a run: what it was made of, how good it is, and whether its files are whole."""
    from textgen.artifact import Artifact, find_run

    artifact = Artifact.open(find_run(run))
    artifact.verify()
    manifest = artifact.manifest
    if as_json:
        typer.echo(manifest.model_dump_json(indent=1))
        return
    typer.echo(f"run         {artifact.path} ({manifest.status}, begun {manifest.created})")
    typer.echo(f"made with   {', '.join(f'{name} {version}' for name, version in manifest.versions.items())}")
    typer.echo(f"vocabulary  {manifest.vocab_size}")
    typer.echo(f"metrics     {_loss(manifest.metrics)}")
    for table, values in manifest.settings.items():
        settings = ", ".join(f"{name}={value}" for name, value in values.items() if name != "name")
        typer.echo(f"{table:<11} {' '.join(part for part in (values.get('name', ''), settings) if part)}")
    typer.echo(f"files       {len(manifest.files)}, all as recorded")


def _loss(metrics: object) -> str:
    from textgen.cli.progress import describe_losses

    assert isinstance(metrics, dict)
    return describe_losses({k: v for k, v in metrics.items() if k != "characters_per_second"}) or "no checkpoint yet"
