"""Options as text: type, range, default and description, from a pydantic schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from textgen.options import Options

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
