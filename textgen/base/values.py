"""Values that a Python program passes: NumPy numbers, arrays, columns of tables and paths are taken as plain ones."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator, KeysView, Mapping, Sequence, ValuesView
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from textgen.errors import OptionError, TextgenError

T = TypeVar("T")

#: Characters of a value that a message shows.
SHOWN = 60

#: Types that are plain: most values have one of them, and are recognised at once.
_PLAIN = frozenset({bool, int, float, str, type(None)})

#: The most items of a range or an iterator, which may be endless.
MOST_ITEMS = 10**7


def plain(value: Any) -> Any:
    """A value without NumPy's or a table's types, as JSON and pydantic know it; anything else as it is.

    Numbers, texts and arrays of NumPy, columns of data frames, tuples, ranges and generators become numbers, texts and
    lists; so do the values inside lists and mappings. Other paths become :class:`~pathlib.Path`. A key of a mapping
    that would become a list stays as it is.

    Raises:
        OptionError: if the value contains itself, is nested too deeply, has more than :data:`MOST_ITEMS` items that are
            not in memory, or fails to tell what is in it.
    """
    kind = type(value).__name__
    try:
        return _plain(value)
    except TextgenError:
        raise
    except RecursionError:
        raise OptionError(f"a value of type {kind} contains itself, or is nested too deeply") from None
    except Exception as error:  # of code that belongs to the value
        raise OptionError(f"a value of type {kind} cannot be read: it raised {type(error).__name__}") from error


def _plain(value: Any) -> Any:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {_plain_key(key): _plain(item) for key, item in value.items()}
    if (column := _as_list(value)) is not value:
        return _plain(column)
    is_file = hasattr(value, "read")
    if isinstance(value, list | tuple | set | frozenset | ValuesView | KeysView) and not is_file:
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
    if isinstance(found, bool) or not isinstance(found, int | float) or not _is_finite(found):
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
    if not isinstance(found, str) or found not in choices:
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
        OptionError: if it is something else, empty, too long, or contains NUL or half of a surrogate pair.
    """
    found = plain(value)
    if not isinstance(found, str | Path):
        raise OptionError(f"{name} must be a path, as a str or pathlib.Path, not {shown(value)}")
    if not str(found) or not is_possible_path(str(found)):
        raise OptionError(f"{name} must be a path, not {shown(value)}")
    return Path(found)


def is_possible_path(text: str) -> bool:
    """Whether the operating system can have a file of this name: it is short enough, without NUL or half characters."""
    try:
        os.lstat(text)
    except (UnicodeEncodeError, ValueError):
        return False
    except OSError as error:
        return error.errno != errno.ENAMETOOLONG
    return True


def dtype_and_shape(value: object) -> str:
    """An array's dtype and shape, for a message, as in ``int32 (3,)``; of anything else the name of its type."""
    import numpy as np

    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def shown(value: object) -> str:
    """A value in a message: itself if it is short, otherwise its type."""
    kind = type(value)
    if kind.__module__ in ("builtins", "numpy"):
        with suppress(Exception):  # a list of values that cannot be written, a number of more than 4,300 digits
            if len(written := repr(value)) <= SHOWN and "\n" not in written:
                return written
    return f"a value of type {kind.__name__}"


def _as_list(value: Any) -> Any:
    """What an array, a number of NumPy, a column of a table or an iterator is in plain Python; others as they are."""
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    if isinstance(value, range | Iterator) and not hasattr(value, "read"):
        items = list(islice(value, MOST_ITEMS + 1))
        if len(items) > MOST_ITEMS:
            raise OptionError(f"a value of type {type(value).__name__} has more than {MOST_ITEMS:,} items; pass fewer")
        return items
    for name in ("tolist", "to_list"):  # the second one of polars
        if not isinstance(value, type) and callable(convert := getattr(value, name, None)):
            return convert()
    return value


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def _written(bound: int) -> str:
    """A bound as a person writes it."""
    return f"2**{bound.bit_length()} - 1" if bound > 10**12 and not bound & (bound + 1) else f"{bound:,}"
