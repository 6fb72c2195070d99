"""``textgen options``; and options as text: type, range, default and description, from a pydantic schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from textgen.base.console import folded, notice
from textgen.base.streams import print_json, print_result
from textgen.cli.parameters import AsJson, complete_corpus, complete_model, complete_table, complete_tokenizer
from textgen.options import PLUGINS, TABLES, Options

_TYPES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "object": "table",
    "null": "none",
}
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
    "multipleOf": "a multiple of",
    "minLength": "length at least",
    "maxLength": "length at most",
    "pattern": "matching",
}


#: Options of ``textgen train`` that are short for ``--set TABLE.OPTION``.
_FLAGS = {
    "training.epochs": "--epochs",
    "training.max_steps": "--max-steps",
    "training.batch_size": "--batch-size",
    "training.seed": "--seed",
    "training.device": "--device",
    "tokenizer.on_unknown": "--on-unknown",
    "corpus.path": "FILE",
}

#: The default of an option that is chosen when the text has been read.
BY_LENGTH = "by the length of the text"

#: Numbers of characters for which a model is asked what it suggests: its suggestions may depend on them.
_LENGTHS = tuple(10**power for power in range(10))


def options(
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="TABLE",
            help=f"One of {', '.join(TABLES)}, {PLUGINS}; by default all.",
            autocompletion=complete_table,
            show_default=False,
        ),
    ] = None,
    corpus: Annotated[
        str | None, typer.Option(help="Only this corpus.", autocompletion=complete_corpus, show_default=False)
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Only this tokenizer.", autocompletion=complete_tokenizer, show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Only this model, and its training.", autocompletion=complete_model, show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the options that --set and a configuration file take: type, range, default and meaning of each.

    They belong to a corpus, a tokenizer, a model, the training of a model, generation, or a life-cycle plugin.
    """
    from textgen.errors import OptionError, suggestion

    tables = (*TABLES, PLUGINS)
    if table is not None and table not in tables:
        raise OptionError(f"unknown table {table!r}; {suggestion(table, tables)}")
    chosen = {"corpus": corpus, "tokenizer": tokenizer, "model": model, "training": model}
    groups = [group for each in ([table] if table else tables) for group in option_groups(each, chosen.get(each))]
    if as_json:
        print_json(groups)
        return
    if table == PLUGINS and not groups:
        notice("no loaded life-cycle plugin has options")
    for group in groups:
        path = f"{group['table']}.{group['name']}" if group["table"] == PLUGINS else group["table"]
        print_result(f"{group['table']} {group['name'] or ''}".rstrip() + ("" if group["options"] else ": no options"))
        for option in group["options"]:
            flag = f", short {option['flag']}" if option["flag"] else ""
            print_result(folded(f"  {path}.{option['name']}: {show_option(option)}{flag}", 6))
            if option["description"]:
                print_result(folded(f"      {option['description']}", 6))


def option_groups(table: str, name: str | None = None) -> Iterator[dict[str, Any]]:
    """The options of a table, plugin by plugin: of one, or of each; models with the same training are one group."""
    from textgen.generation.request import GenerationOptions
    from textgen.plugins.registry import plugins

    if table == "generation":
        yield _group(table, None, GenerationOptions, {"length"})
        return
    registry, seen = plugins(), []
    if table == PLUGINS:
        for plugin, schema in registry.schemas().items():
            yield _group(table, plugin, schema, set())
        return
    kind = "model" if table == "training" else table
    for each in [name] if name else [item.name for item in registry.provided(kind)]:
        target = registry.get(kind, each)
        if table != "training":
            by_length = (
                {option for length in _LENGTHS for option in target.suggested_options(length)}
                if kind == "model"
                else set()
            )
            yield _group(table, each, target.Options, by_length)
        elif (training := (target.TrainingOptions, target.suggested_epochs)) not in seen:
            seen.append(training)
            group = _group(table, each, training[0], set() if training[1] else {"epochs"})
            for option in group["options"]:
                if option["name"] == "epochs" and training[1]:
                    option["default"] = training[1]
            yield group


def _group(table: str, name: str | None, schema: type[Options], by_length: set[str]) -> dict[str, Any]:
    described = [
        {**option, "flag": _FLAGS.get(f"{table}.{option['name']}")}
        | ({"default": BY_LENGTH} if option["name"] in by_length else {})
        for option in describe_options(schema)
    ]
    return {"table": table, "name": name, "options": described}


def describe_options(schema: type[Options]) -> list[dict[str, Any]]:
    """The options as JSON values: ``name``, ``type``, ``range``, ``needed``, ``default`` and ``description``."""
    content = schema.model_json_schema()
    required = content.get("required", [])
    return [
        {
            "name": name,
            "type": _type(field),
            "range": ", ".join(_bounds(field)),
            "needed": name in required,
            "default": field.get("default"),
            "description": field.get("description", ""),
        }
        for name, field in content.get("properties", {}).items()
    ]


def show_option(option: Mapping[str, Any]) -> str:
    """An option on one line, without its name and description."""
    default = "required" if option["needed"] else f"default {show_value(option['default'])}"
    return ", ".join(part for part in (option["type"], option["range"], default) if part)


def show_value(value: Any) -> str:
    """A value, as written after ``--set``."""
    if value is None:
        return "none"
    return value if isinstance(value, str) and value else json.dumps(value)


def _type(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return " or ".join(show_value(value) for value in field["enum"])
    if "const" in field:
        return show_value(field["const"])
    if "anyOf" in field:
        return " or ".join(_type(part) for part in field["anyOf"])
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    return _TYPES.get(field.get("type", ""), "any value")


def _bounds(field: Mapping[str, Any]) -> list[str]:
    parts = [field, *field.get("anyOf", [])]
    return [f"{words} {part[key]}" for part in parts for key, words in _BOUNDS.items() if key in part]
