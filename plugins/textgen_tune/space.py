"""The options that are searched, and the values that they may have."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from textgen.errors import OptionError

#: What is searched by default: what most decides the loss of the models ``gru`` and ``lstm``.
DEFAULT = (
    "model.units=32..512",
    "model.layers=1..2",
    "model.dropout=0.0..0.5",
    "training.learning_rate=0.0003..0.01",
)

#: The models that have all of these options.
MODELS = ("gru", "lstm")

_NAME = re.compile(r"(corpus|tokenizer|model|training)\.\w+")
_WHOLE = re.compile(r"[+-]?\d+")

#: A range is searched by its logarithm if its ends differ by this factor or more.
_DECADE = 10


@dataclass(frozen=True)
class Searched:
    """An option, and the values that it may have.

    Attributes:
        name: of the option, ``table.option``.
        low: the lowest value of a range.
        high: its highest value.
        choices: the values one by one, as ``--set`` takes them, instead of a range.
    """

    name: str
    low: float = 0
    high: float = 0
    choices: tuple[str, ...] = ()

    @property
    def is_log(self) -> bool:
        """Whether it is searched by its logarithm."""
        return not self.choices and 0 < self.low * _DECADE <= self.high

    def distribution(self) -> Any:
        """The same for Optuna; equal values are equally likely at first, or equal ratios."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=self.is_log)
        return FloatDistribution(self.low, self.high, log=self.is_log)


def read_space(searches: Iterable[str]) -> list[Searched]:
    """Reads ``table.option=LOW..HIGH``, a range of whole numbers or of numbers, and ``table.option=A,B,C``.

    Raises:
        OptionError: if one is neither, or an option is named twice.

    Example:
        >>> [each.distribution() for each in read_space(["model.units=64..512", "training.batch_size=32,64"])]
        [IntDistribution(high=512, log=False, low=64, step=1), CategoricalDistribution(choices=('32', '64'))]
    """
    found = [_read(search) for search in searches]
    names = [each.name for each in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise OptionError(f"--search {twice} is given twice; name its values in one")
    return found


def _read(search: str) -> Searched:
    name, _, text = (part.strip() for part in search.partition("="))
    if not _NAME.fullmatch(name):
        raise _wrong(search)
    low, dots, high = text.partition("..")
    if dots:
        first, last = _number(low, search), _number(high, search)
        if not first < last:
            raise OptionError(f"--search {search}: the range is empty; write the lower end first")
        return Searched(name, first, last)
    choices = tuple(choice.strip() for choice in text.split(","))
    if len(choices) < 2 or len(set(choices)) < len(choices) or "" in choices:
        raise _wrong(search)
    return Searched(name, choices=choices)


def _number(text: str, search: str) -> float:
    try:
        value = int(text) if _WHOLE.fullmatch(text.strip()) else float(text)
    except ValueError:
        raise _wrong(search) from None
    if not abs(value) < 2**53:
        raise _wrong(search)
    return value


def _wrong(search: str) -> OptionError:
    return OptionError(
        f"--search {search!r} is neither a range, as in model.units=64..512, nor different values, as in "
        "training.batch_size=32,64,128"
    )
