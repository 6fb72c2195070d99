"""``textgen plugins``: what is installed."""

from __future__ import annotations

import typer

app = typer.Typer(help="List the plugins.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Keep ``list`` a sub-command while it is the only one."""


@app.command("list")
def list_(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """List the plugins and the names that they provide."""
    import json

    from textgen.plugins import KINDS, plugins

    found = plugins()
    provided = [item for kind in KINDS for item in found.provided(kind)]
    if as_json:
        rows = [
            {
                "plugin": plugin.name,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "provides": [
                    {"kind": item.kind, "name": item.name, "summary": item.summary}
                    for item in provided
                    if item.plugin == plugin
                ],
            }
            for plugin in found.plugins
        ]
        problems = [{"plugin": p.plugin.name, "reason": p.reason} for p in found.problems]
        typer.echo(json.dumps({"plugins": rows, "problems": problems}, indent=1))
        return
    for plugin in found.plugins:
        typer.echo(f"{plugin.name} ({plugin.distribution} {plugin.version})")
        for item in provided:
            if item.plugin == plugin:
                typer.echo(f"  {item.kind:<10} {item.name:<26} {item.summary}")
