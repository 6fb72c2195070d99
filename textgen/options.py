"""Options as schemas: one pydantic model per plugin provides its validation, help and documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from textgen.errors import OptionError, suggestion

#: Option values, one table per part: ``{"model": {"name": "gru", "units": 512}, "training": {...}}``.
Settings = dict[str, dict[str, Any]]

#: The tables of settings; all but the last two select a plugin by ``name``.
TABLES = ("corpus", "tokenizer", "model", "training", "generation")


class Options(BaseModel):
    """The base class of all options: immutable; an unknown option is an error.

    Example:
        >>> from pydantic import Field
        >>> class Cell(Options):
        ...     units: int = Field(256, ge=1, description="Width of the state.")
        >>> build_options(Cell, {"units": "512"}, where="model").units
        512
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


OptionsT = TypeVar("OptionsT", bound=Options)


def build_options(schema: type[OptionsT], values: Mapping[str, Any], *, where: str) -> OptionsT:
    """Validates ``values`` against ``schema``.

    Args:
        schema: the options' class.
        values: raw values; strings are converted to the types of the fields, ``"none"`` to ``None``.
        where: the table of the values, for error messages (``"model"`` gives ``model.units``).

    Raises:
        OptionError: if options are unknown or out of range; names all of them.
    """
    try:
        return schema.model_validate({name: None if value == "none" else value for name, value in values.items()})
    except ValidationError as error:
        problems = "; ".join(_problem(schema, where, detail) for detail in error.errors())
        raise OptionError(problems) from None


def _problem(schema: type[Options], where: str, detail: Any) -> str:
    name = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{where} has no option {name!r}; {suggestion(name, schema.model_fields)}"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    path = f"{where}.{name}" if name else where
    if detail["type"] == "missing":
        return f"{path} is required; set it with --set {path}=VALUE"
    return f"{path}: {message}, got {detail['input']!r}" if name else f"{path}: {message}"


def parse_settings(assignments: Iterable[str]) -> Settings:
    """Parses command-line assignments such as ``model.units=512`` into settings.

    Raises:
        OptionError: if one is not ``table.option=value`` with a table of :data:`TABLES`.
    """
    settings: Settings = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        table, dot, option = path.strip().partition(".")
        if not (equals and dot and option):
            raise OptionError(f"--set {assignment!r} is not of the form table.option=value, such as model.units=512")
        _check_table(table)
        settings.setdefault(table, {})[option] = _parse_value(text.strip())
    return settings


def parse_options(assignments: Iterable[str]) -> dict[str, Any]:
    """Parses command-line assignments such as ``precision=int8``, the options of a single plugin.

    Raises:
        OptionError: if one is not ``option=value``.
    """
    options = {}
    for assignment in assignments:
        option, equals, text = assignment.partition("=")
        if not (option.strip() and equals):
            raise OptionError(f"--set {assignment!r} is not of the form option=value, such as precision=int8")
        options[option.strip()] = _parse_value(text.strip())
    return options


def _parse_value(text: str) -> Any:
    """Parses lists and tables as TOML; anything else stays a string, which the schema converts."""
    if text[:1] in ("[", "{"):
        import tomllib

        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise OptionError(f"{text!r} is not a TOML value: {error}") from None
    return text


def read_config(path: Path) -> Settings:
    """Reads settings from a TOML file with the tables of :data:`TABLES`.

    Raises:
        OptionError: if the file is missing, is not TOML, or has an unknown table.
    """
    import tomllib

    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"cannot read the configuration {path}: {error}") from None
    for table, values in settings.items():
        _check_table(table)
        if not isinstance(values, dict):
            raise OptionError(f"{path}: {table} must be a table, as in [{table}]")
        if not isinstance(values.get("name", ""), str):
            raise OptionError(f'{path}: {table}.name must be a string, as in name = "{values["name"]}"')
    return settings


def _check_table(table: str) -> None:
    if table not in TABLES:
        raise OptionError(f"unknown table {table!r}; {suggestion(table, TABLES)}")


def merge_settings(*layers: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Merges settings option by option; later layers take precedence.

    A layer that selects another plugin (a new ``name``) drops the options of the previous one.
    """
    merged: Settings = {table: {} for table in TABLES}
    for layer in layers:
        for table, values in layer.items():
            _check_table(table)
            selected = merged[table].get("name")
            if "name" in values and selected is not None and values["name"] != selected:
                merged[table] = {}
            merged[table].update(values)
    return merged
