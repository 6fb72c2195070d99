"""Values that a Python program passes: NumPy numbers, arrays, columns of tables and paths are taken as plain ones."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, KeysView, Mapping, Sequence, ValuesView
from pathlib import Path
from typing import Any, TypeVar

from textgen.errors import OptionError

T = TypeVar("T")

#: Characters of a value that a message shows.
SHOWN = 60


def plain(value: Any) -> Any:
    """A value without NumPy's or a table's types, as JSON and pydantic know it; anything else as it is.

    Numbers, texts and arrays of NumPy, columns of data frames, tuples, ranges and generators become numbers, texts and
    lists; so do the values inside lists and mappings. Other paths become :class:`~pathlib.Path`. A key of a mapping
    that would become a list stays as it is.

    Raises:
        OptionError: if the value contains itself, or is nested too deeply.
    """
    try:
        return _plain(value)
    except RecursionError:
        raise OptionError(f"a value of type {type(value).__name__} contains itself, or is nested too deeply") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_plain_key(key): _plain(item) for key, item in value.items()}
    if (column := _as_list(value)) is not value:
        return _plain(column)
    is_file = hasattr(value, "read")
    if isinstance(value, list | tuple | set | frozenset | range | Iterator | ValuesView | KeysView) and not is_file:
        return [_plain(item) for item in value]
    if isinstance(value, os.PathLike) and not isinstance(value, Path) and isinstance(path := os.fspath(value), str):
        return Path(path)
    return value


def _plain_key(key: Any) -> Any:
    """A key of a mapping; a list cannot be one."""
    return key if isinstance(found := _plain(key), list) else found


def whole_number(value: object, name: str, lowest: int, highest: int) -> int:
    """A whole number: an ``int``, one of NumPy, or a float without a fraction.

    Raises:
        OptionError: if it is something else, or out of range.
    """
    number = plain(value)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or not lowest <= number <= highest:
        raise OptionError(f"{name} must be a whole number from {lowest} to {_written(highest)}, not {shown(value)}")
    return number


def number(value: object, name: str) -> float:
    """A finite number, as ``int`` or ``float``.

    Raises:
        OptionError: if it is something else.
    """
    found = plain(value)
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise OptionError(f"{name} must be a number, not {shown(value)}")
    return found


def truth(value: object, name: str) -> bool:
    """A truth value, of Python or of NumPy.

    Raises:
        OptionError: if it is something else.
    """
    found = plain(value)
    if not isinstance(found, bool):
        raise OptionError(f"{name} must be True or False, not {shown(value)}")
    return found


def text(value: object, name: str) -> str:
    """A text.

    Raises:
        OptionError: if it is something else.
    """
    found = plain(value)
    if not isinstance(found, str):
        raise OptionError(f"{name} must be a str, not {shown(value)}")
    return found


def choice(value: object, name: str, choices: Sequence[str]) -> str:
    """One of some texts.

    Raises:
        OptionError: if it is something else.
    """
    found = plain(value)
    if found not in choices:
        raise OptionError(f"{name} must be {' or '.join(map(repr, choices))}, not {shown(value)}")
    return str(found)


def instance(value: object, name: str, kind: type[T]) -> T:
    """An object of a class.

    Raises:
        OptionError: if it is something else.
    """
    if not isinstance(value, kind):
        raise OptionError(f"{name} must be a {kind.__name__}, not {shown(value)}")
    return value


def several(value: object, name: str, kind: str) -> list[Any]:
    """The items of a list, tuple, array, column, generator or other iterable; a single text or number is one item.

    Args:
        value: the items.
        name: of the value, for messages.
        kind: what the items are, in the plural.

    Raises:
        OptionError: if it is something else, such as a table or a file.
    """
    found = plain(value)
    if isinstance(found, str | int | float):
        return [found]
    if not isinstance(found, list):
        raise OptionError(f"{name} must be {kind}, not {shown(value)}")
    return found


def texts(value: object, name: str) -> list[str]:
    """A text, or several, as a list.

    Raises:
        OptionError: if it is something else; names the first item that is not a text.
    """
    items = several(value, name, "a str or a list of them")
    return [text(item, name if len(items) == 1 else f"{name}[{index}]") for index, item in enumerate(items)]


def table(value: object, name: str) -> dict[str, Any]:
    """A mapping from names to values, all of them plain.

    Raises:
        OptionError: if it is something else.
    """
    found = plain(value)
    if not isinstance(found, dict):
        raise OptionError(f"{name} must be a dict, not {shown(value)}")
    return {text(key, f"a name in {name}"): item for key, item in found.items()}


def path(value: object, name: str) -> Path:
    """A path: a text, or any object that stands for one.

    Raises:
        OptionError: if it is something else, empty, or contains NUL.
    """
    found = plain(value)
    if not isinstance(found, str | Path):
        raise OptionError(f"{name} must be a path, as a str or pathlib.Path, not {shown(value)}")
    if not str(found) or "\0" in str(found):
        raise OptionError(f"{name} must be a path, not {shown(value)}")
    return Path(found)


def shown(value: object) -> str:
    """A value in a message: itself if it is short, otherwise its type."""
    kind = type(value)
    if kind.__module__ in ("builtins", "numpy") and len(written := repr(value)) <= SHOWN and "\n" not in written:
        return written
    return f"a value of type {kind.__name__}"


def _as_list(value: Any) -> Any:
    """What an array, a number of NumPy or a column of a table is in plain Python; other values as they are."""
    if isinstance(value, str):
        return str(value) if type(value).__module__ == "numpy" else value
    for name in ("tolist", "to_list"):  # the second one of polars
        if not isinstance(value, type) and callable(convert := getattr(value, name, None)):
            return convert()
    return value


def _written(bound: int) -> str:
    """A bound as a person writes it."""
    return f"2**{bound.bit_length()} - 1" if bound > 10**12 and not bound & (bound + 1) else f"{bound:,}"
