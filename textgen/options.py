"""Options as schemas: one pydantic model per plugin provides its validation, help and documentation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from textgen.errors import OptionError, shortened, suggestion

#: Option values, one table per part: ``{"model": {"name": "gru", "units": 512}, "training": {...}}``.
Settings = dict[str, dict[str, Any]]

#: The tables of settings; all but the last two select a plugin by ``name``.
TABLES = ("corpus", "tokenizer", "model", "training", "generation")

#: The table of tables with the options of life-cycle plugins, by the plugin's name: ``plugins.log.folder=runs``.
PLUGINS = "plugins"


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


class Typed(str):
    """Text typed on a command line: its meaning follows from the type of its option (:func:`build_options`)."""


OptionsT = TypeVar("OptionsT", bound=Options)

#: The most problems that a message lists.
_MOST_PROBLEMS = 20

#: The most characters of a value that a message shows.
_SHOWN = 200

#: The most characters of a name in a file, and of what is wrong there, in a message.
_LONGEST_PART, _LONGEST_PROBLEM = 60, 300

#: The most bytes of a configuration file.
_CONFIG_LIMIT = 2**24

#: The types of options that are lists.
_LISTS = (list, tuple, set, frozenset, Sequence)

#: How a list of texts begins; ``[END]`` is a text.
_LIST_OF_TEXTS = re.compile(r"""\[\s*(['"]|\])""")

#: The rules that a value can break, by pydantic's name of the error.
_RULES = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "path_type": "a path",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "none_required": "none",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "string_too_short": "at least {min_length} characters long",
    "string_too_long": "at most {max_length} characters long",
}


def build_options(schema: type[OptionsT], values: Mapping[str, Any], *, where: str) -> OptionsT:
    """Validates ``values`` against ``schema``.

    Text of a command line (:class:`Typed`) is read by the type of its option: an option that is text keeps it
    exactly, blanks and brackets included; lists, tables and numbers are parsed. For an option that may be ``None``,
    ``"none"`` is ``None``. A list may be given as its only element.

    Args:
        schema: the options' class.
        values: raw values; strings are converted to the types of the fields.
        where: the table of the values, for error messages (``"model"`` gives ``model.units``).

    Raises:
        OptionError: if options are unknown or out of range; names all of them.
    """
    interpreted = {name: _interpret(schema, name, value, where) for name, value in values.items()}
    try:
        return schema.model_validate(interpreted)
    except ValidationError as error:
        raise OptionError(_all_problems(schema, where, error)) from None


def read_options(schema: type[OptionsT], values: Mapping[str, Any], *, where: str) -> OptionsT:
    """Validates options that a run has recorded, which are complete: no value is converted.

    Args:
        schema: the options' class.
        values: JSON values by option.
        where: the table of the values, for error messages.

    Raises:
        OptionError: if options are unknown, of another type, or out of range; names all of them.
    """
    try:
        return schema.model_validate_json(json.dumps(dict(values)), strict=True)
    except ValidationError as error:
        raise OptionError(_all_problems(schema, where, error)) from None


def first_problem(error: ValidationError) -> str:
    """The first problem of a file that does not fit its schema: where, and what, in one line without any value of it.

    Example:
        >>> class Size(BaseModel):
        ...     units: list[int]
        >>> try:
        ...     Size.model_validate({"units": ["x"]}, strict=True)
        ... except ValidationError as error:
        ...     print(first_problem(error))
        units.0: Input should be a valid integer
    """
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part)[:_LONGEST_PART] for part in first["loc"])
    message = _message(first)
    return " ".join(f"{where}: {message}".split() if where else message.split())[:_LONGEST_PROBLEM]


def _message(detail: Any) -> str:
    return str(detail["msg"]).removeprefix("Value error, ")


def _all_problems(schema: type[Options], where: str, error: ValidationError) -> str:
    errors = groupby(error.errors(), key=lambda detail: detail["loc"][:1])
    problems = [problem for _, details in errors for problem in _problems(schema, where, list(details))]
    more = [f"and {len(problems) - _MOST_PROBLEMS:,} more"] if len(problems) > _MOST_PROBLEMS else []
    return "; ".join([*problems[:_MOST_PROBLEMS], *more])


def _interpret(schema: type[Options], name: str, value: Any, where: str) -> Any:
    """The value that is meant, before pydantic validates it."""
    if name not in schema.model_fields:
        return value
    kinds = _member_types(schema.model_fields[name].annotation)
    takes_text = _takes_text(kinds)
    is_none = isinstance(value, str) and (str(value) if takes_text else value.strip()) == "none"
    if is_none and NoneType in kinds and "none" not in kinds:
        return None
    if isinstance(value, Typed):
        return _parse(value, kinds, _path(where, name))
    if isinstance(value, str | int | float) and not takes_text and any(_origin(kind) in _LISTS for kind in kinds):
        return [value]
    return value


def _parse(typed: Typed, kinds: Sequence[Any], path: str) -> Any:
    """The value that text on a command line has for an option of these types."""
    text, bare = str(typed), typed.strip()
    lists = next((kind for kind in kinds if _origin(kind) in _LISTS), None)
    items = _member_types(*get_args(lists)[:1])
    if bare.startswith("["):
        only_texts = _takes_text(items) and not {int, float, bool} & {*items}
        if Any in kinds or (lists is not None and (not only_texts or _LIST_OF_TEXTS.match(bare))):
            return _read_toml(bare, path)
    if bare.startswith("{") and any(_origin(kind) is dict or _is_table(kind) or kind is Any for kind in kinds):
        return _read_toml(bare, path)
    if _takes_text(kinds):
        return _number(bare, kinds, text)
    if lists is not None:
        only = _number(bare, items, text) if _takes_text(items) else bare
        return [] if only == "" else [only]
    return next((kind for kind in kinds if str(kind) == bare), bare)  # a choice of numbers


def _member_types(*annotations: Any) -> list[Any]:
    """The types that make up annotations, without unions; the values of a literal stand for themselves."""
    kinds: list[Any] = []
    for annotation in annotations:
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin in (Union, UnionType):
            kinds += _member_types(*arguments)
        elif origin is Annotated:
            kinds += _member_types(arguments[0])
        elif origin is Literal:
            kinds += arguments
        else:
            kinds.append(annotation)
    return kinds


def _origin(kind: Any) -> Any:
    return get_origin(kind) or kind


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _takes_text(kinds: Sequence[Any]) -> bool:
    """Whether one of the types is text, a path, or anything else that is written as text."""
    return any(
        isinstance(kind, type) and not issubclass(kind, int | float | NoneType | BaseModel | list | tuple | set | dict)
        for kind in kinds
    )


def _number(bare: str, kinds: Sequence[Any], text: str) -> Any:
    """The number that a text is, if the option may be a number, too; otherwise the text."""
    if bool in kinds and bare in ("true", "false"):
        return bare == "true"
    for kind in (int, float):
        if kind in kinds:
            with suppress(ValueError):
                return kind(bare)
    return text


def _read_toml(text: str, path: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except RecursionError:
        raise OptionError(f"{path}: the value is nested too deeply") from None
    except ValueError as error:  # tomllib.TOMLDecodeError, and numbers of thousands of digits
        advice = 'a list is written ["a", "b"]' if text[0] == "[" else "a table is written {a = 1, b = 2}"
        raise OptionError(f"{path}: {text!r} is not a TOML value: {error}; {advice}") from None


def _path(where: str, *parts: Any) -> str:
    """The name of an option in messages; that of a sampler's main option is the sampler's own."""
    return ".".join([where, *(str(part) for part in parts if part != where)])


def _problems(schema: type[Options], where: str, details: Sequence[Any]) -> list[str]:
    """Describes the errors of one option: a part for each of its values that are wrong."""
    name = str(details[0]["loc"][0]) if details[0]["loc"] else ""
    if details[0]["type"] == "extra_forbidden":
        return [f"{where} has no option {name!r}; {suggestion(name, schema.model_fields)}"]
    if details[0]["type"] == "missing" and len(details[0]["loc"]) > 1:
        part = details[0]["loc"][-1]
        return [f"{_path(where, name)} lacks its {f'value {part + 1}' if isinstance(part, int) else part}"]
    if details[0]["type"] == "missing":
        return [f"{_path(where, name)} is required; set it with --set {_path(where, name)}=VALUE"]
    rules = {_rule(detail): None for detail in details}
    kinds = _member_types(schema.model_fields[name].annotation) if name else []
    if len({*kinds} - {NoneType}) > 1 and None not in rules:  # an error for each type that the value is not
        return [f"{_path(where, name)} must be {' or '.join(map(str, rules))}, not {_shown(details[0]['input'])}"]
    return [_problem(where, detail) for detail in details]


def _problem(where: str, detail: Any) -> str:
    path, rule, shown = _path(where, *detail["loc"]), _rule(detail), _shown(detail["input"])
    if rule is not None:
        return f"{path} must be {rule}, not {shown}"
    message = _message(detail)
    message = message[:1].lower() + message[1:]
    return f"{path}: {message}, got {shown}" if detail["loc"] else f"{path}: {message}"


def _rule(detail: Any) -> str | None:
    """The rule that a value breaks, in words; ``None`` if the message of the error puts it better."""
    rule = _RULES.get(detail["type"])
    bounds = {
        name: f"{value:g}" if isinstance(value, float) else value for name, value in detail.get("ctx", {}).items()
    }
    return None if rule is None else rule.format(**bounds)


def _shown(value: Any) -> str:
    """A value in a message: a number that came as text without quotes."""
    if isinstance(value, str):
        with suppress(ValueError):
            float(value)
            if len(value) <= _SHOWN:
                return value
    return shortened(value, _SHOWN)


def parse_settings(assignments: Iterable[str]) -> Settings:
    """Takes command-line assignments such as ``model.units=512`` apart; their values are :class:`Typed`.

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
        option = option.strip()
        if table == PLUGINS:
            plugin, dot, option = option.partition(".")
            if not option:
                raise OptionError(f"--set {assignment!r} is not of the form plugins.NAME.option=value")
            settings.setdefault(PLUGINS, {}).setdefault(plugin, {})[option] = Typed(text)
            continue
        settings.setdefault(table, {})[option] = text.strip() if option == "name" else Typed(text)
    return settings


def set_arguments(table: str, values: Mapping[str, Any]) -> list[str]:
    """Writes options as arguments of a command, the inverse of :func:`parse_settings`.

    Each option gets the same value back from :func:`build_options`, except text where the type of the option allows
    something else that is written alike: a number, a list, or ``none``.

    Args:
        table: the table of the options.
        values: JSON values by option; lists and tables contain no ``None``.

    Returns:
        Two words per option, not quoted for a shell (see :func:`shlex.join`).

    Example:
        >>> set_arguments("training", {"epochs": 5, "clip_norm": None, "freeze": ["head"]})
        ['--set', 'training.epochs=5', '--set', 'training.clip_norm=none', '--set', 'training.freeze=["head"]']
    """
    return [word for name, value in values.items() for word in ("--set", f"{table}.{name}={_as_text(value)}")]


def _as_text(value: Any) -> str:
    """A JSON value as ``--set`` reads it: text as it is, everything else as in TOML."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else _as_toml(value)


def _as_toml(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # in JSON, it need not be escaped
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_as_toml, value))}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_as_toml(key)} = {_as_toml(item)}" for key, item in value.items()) + "}"
    return repr(value)


def parse_options(assignments: Iterable[str]) -> dict[str, Any]:
    """Takes apart command-line assignments such as ``precision=int8``, the options of a single plugin.

    Raises:
        OptionError: if one is not ``option=value``.
    """
    options = {}
    for assignment in assignments:
        option, equals, text = assignment.partition("=")
        if not (option.strip() and equals):
            raise OptionError(f"--set {assignment!r} is not of the form option=value, such as precision=int8")
        options[option.strip()] = Typed(text)
    return options


def read_config(path: Path) -> Settings:
    """Reads settings from a TOML file with the tables of :data:`TABLES`.

    Raises:
        OptionError: if the file is missing, is not TOML, or has an unknown table.
    """
    import tomllib

    wrong = f"cannot read the configuration {path}: "
    try:
        if not path.is_file() and path.exists():  # a pipe would be waited for
            raise OptionError(f"{wrong}it is not a regular file; save it as one")
        with path.open("rb") as file:
            content = file.read(_CONFIG_LIMIT + 1)
        if len(content) > _CONFIG_LIMIT:
            raise OptionError(f"{wrong}it has more than {_CONFIG_LIMIT:,} bytes; name a file of options")
        settings = tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise OptionError(f"{wrong}it is not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except RecursionError:
        raise OptionError(f"{wrong}it is nested too deeply") from None
    except (OSError, ValueError) as error:  # tomllib.TOMLDecodeError, and numbers of thousands of digits
        raise OptionError(f"{wrong}{error}") from None
    for table, values in settings.items():
        _check_table(table)
        if not isinstance(values, dict):
            raise OptionError(f"{path}: {table} must be a table, as in [{table}]")
        if table == PLUGINS:
            for plugin, options in values.items():
                if not isinstance(options, dict):
                    raise OptionError(f"{path}: plugins.{plugin} must be a table, as in [plugins.{plugin}]")
            continue
        if not isinstance(values.get("name", ""), str):
            raise OptionError(f'{path}: {table}.name must be a string, as in name = "{values["name"]}"')
    return settings


def _check_table(table: str) -> None:
    if table not in (*TABLES, PLUGINS):
        raise OptionError(f"unknown table {table!r}; {suggestion(table, (*TABLES, PLUGINS))}")


def merge_settings(*layers: Mapping[str, Mapping[str, Any]]) -> Settings:
    """Merges settings option by option; later layers take precedence.

    A layer that selects another plugin (a new ``name``) drops the options of the previous one.
    """
    merged: Settings = {table: {} for table in TABLES}
    for layer in layers:
        for table, values in layer.items():
            _check_table(table)
            if table == PLUGINS:
                tables = merged.setdefault(PLUGINS, {})
                tables |= {plugin: {**tables.get(plugin, {}), **options} for plugin, options in values.items()}
                continue
            selected = merged[table].get("name")
            if "name" in values and selected is not None and values["name"] != selected:
                merged[table] = {}
            merged[table].update(values)
    return merged
