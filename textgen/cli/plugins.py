"""``textgen plugins``: what is installed."""

from __future__ import annotations

import typer

from textgen.cli.parameters import AsJson

app = typer.Typer(help="List the plugins.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Keep ``list`` a sub-command while it is the only one."""


@app.command("list")
def list_(as_json: AsJson = False) -> None:
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
        print(json.dumps({"plugins": rows, "problems": problems}, indent=1))
        return
    width = max((len(item.name) for item in provided), default=0)
    for plugin in found.plugins:
        print(f"{plugin.name} ({plugin.distribution} {plugin.version})")
        for item in provided:
            if item.plugin == plugin:
                print(f"  {item.kind:<10} {item.name:<{width}} {item.summary}".rstrip())
