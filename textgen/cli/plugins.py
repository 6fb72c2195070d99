"""``textgen plugins``: list the plugins, examine them, describe what they provide, and start one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from textgen.base.console import folded
from textgen.base.streams import print_json, print_result
from textgen.cli.new_plugin import new
from textgen.cli.parameters import AsJson, complete_name

if TYPE_CHECKING:
    from textgen.options import Options
    from textgen.plugins.registration import Provided

app = typer.Typer(help="List, examine and describe plugins, or create one.", no_args_is_help=True)
app.command()(new)

#: The kind, in lists, of a plugin that has options of its own because it implements life-cycle hooks.
_LIFE_CYCLE = "life-cycle"

#: How to use a name of each kind.
_USES = {
    "corpus": "textgen train --corpus {name}",
    "tokenizer": "textgen train --tokenizer {name}",
    "model": "textgen train --model {name}",
    "sampler": "textgen sample --sampler 'CHAIN', with {link} in the chain",
    "exporter": "textgen export --to {name}",
    "runtime": "textgen sample --runtime {name}",
    "recipe": "textgen train --recipe {name}",
    "command": "textgen {name} --help",
}


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the plugins and the names that they provide."""
    from textgen.plugins.registration import KINDS
    from textgen.plugins.registry import plugins

    registry = plugins()
    provided = [item for kind in KINDS for item in registry.provided(kind)]
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
            for plugin in registry.plugins
        ]
        problems = [
            {"plugin": p.plugin.name, "distribution": p.plugin.distribution, "reason": p.reason, "where": p.where}
            for p in registry.problems
        ]
        print_json({"plugins": rows, "problems": problems})
        return
    width = max((len(item.name) for item in provided), default=0)
    for plugin in registry.plugins:
        print_result(f"{plugin.name} ({plugin.origin})")
        for item in provided:
            if item.plugin == plugin:
                print_result(folded(f"  {item.kind:<10} {item.name:<{width}} {item.summary}".rstrip(), 14))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Examine the plugins: what is broken, misspelt, claimed twice or slow.

    The exit code is 1 if it finds anything.
    """
    from dataclasses import asdict

    from textgen.cli import COMMANDS
    from textgen.plugins.doctor import diagnose
    from textgen.plugins.registry import plugins

    diagnoses = diagnose(plugins(), COMMANDS)
    if as_json:
        print_json([{**asdict(diagnosis), "status": diagnosis.status} for diagnosis in diagnoses])
    else:
        for diagnosis in diagnoses:
            facts = [] if diagnosis.milliseconds is None else [f"{diagnosis.milliseconds:.0f} ms"]
            if diagnosis.imports:
                facts.append(f"imports {', '.join(diagnosis.imports)}")
            print_result(
                folded(f"{diagnosis.status:<7} {diagnosis.plugin}{': ' if facts else ''}{', '.join(facts)}", 8)
            )
            for finding in diagnosis.findings:
                place = f" ({finding.where})" if finding.where else ""
                print_result(folded(f"        {finding.what}{place}", 8))
    if any(diagnosis.status in ("slow", "broken") for diagnosis in diagnoses):
        raise typer.Exit(1)


@app.command()
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of a corpus, tokenizer, model, sampler and so on.",
            autocompletion=complete_name,
            show_default=False,
        ),
    ],
    kind: Annotated[str | None, typer.Option(help="The kind to show, if several kinds have the name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a name is, which plugin provides it, how to use it, and its options."""
    from textgen.errors import OptionError, UnknownNameError, suggestion
    from textgen.plugins.registration import KINDS
    from textgen.plugins.registry import plugins

    kinds = (*KINDS, _LIFE_CYCLE)
    if kind is not None and kind not in kinds:
        raise OptionError(f"unknown kind {kind!r}; {suggestion(kind, kinds)}")
    known = [item for each in ([kind] if kind else KINDS) for item in plugins().provided(each)]
    schemas = plugins().schemas() if kind in (None, _LIFE_CYCLE) else {}
    described = [_describe(item) for item in known if item.name == name]
    described += [_describe_plugin(name, schemas[name])] if name in schemas else []
    if not described:
        raise UnknownNameError(kind or "name", name, {item.name for item in known} | schemas.keys())
    if as_json:
        print_json(described)
    else:
        print_result("\n\n".join(_text(item) for item in described))


def _describe(item: Provided) -> dict[str, Any]:
    from textgen.cli.options import describe_options
    from textgen.plugins.registry import plugins

    target = plugins().get(item.kind, item.name)
    options = describe_options(target.Options) if hasattr(target, "Options") else []
    link = f"{item.name}({', '.join(option['name'] for option in options)})" if options else item.name
    description: dict[str, Any] = {
        "kind": item.kind,
        "name": item.name,
        "summary": item.summary,
        "plugin": item.plugin.name,
        "distribution": item.plugin.distribution,
        "version": item.plugin.version,
        "use": _USES[item.kind].format(name=item.name, link=link),
        "options": options,
    }
    if item.kind == "recipe":
        description["settings"] = {table: dict(values) for table, values in target.items()}
    return description


def _describe_plugin(name: str, schema: type[Options]) -> dict[str, Any]:
    """Describes a plugin that has options of its own."""
    from textgen.cli.options import describe_options
    from textgen.plugins.registry import plugins

    plugin = next(each for each in plugins().plugins if each.name == name)
    return {
        "kind": _LIFE_CYCLE,
        "name": name,
        "summary": (getattr(plugins().module(plugin), "__doc__", None) or "").partition("\n")[0],
        "plugin": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "use": f"textgen train --set plugins.{name}.OPTION=VALUE",
        "options": describe_options(schema),
    }


def _text(item: dict[str, Any]) -> str:
    from textgen.cli.options import show_option, show_value
    from textgen.options import TABLES

    lines = [
        folded(f"{item['kind']} {item['name']}: {item['summary']}".rstrip(": "), 2),
        f"  from {item['plugin']} ({item['distribution']} {item['version']})",
        f"  use  {item['use']}",
    ]
    for option in item["options"]:
        table = f"plugins.{item['name']}" if item["kind"] == _LIFE_CYCLE else item["kind"]
        is_set = item["kind"] in (*TABLES, _LIFE_CYCLE)
        path = f"--set {table}.{option['name']}=" if is_set else f"{option['name']}: "
        lines.append(folded(f"  {path}{show_option(option)}", 6))
        if option["description"]:
            lines.append(folded(f"      {option['description']}", 6))
    for table, values in item.get("settings", {}).items():
        lines += [f"  {table}.{name}={show_value(value)}" for name, value in values.items()]
    return "\n".join(lines)
