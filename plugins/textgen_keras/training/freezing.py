"""Weights that training leaves as they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textgen.errors import OptionError


def frozen_names(names: Iterable[str], freeze: Sequence[str]) -> set[str]:
    """The names of the weights that training leaves as they are.

    Args:
        names: of all weights.
        freeze: names, or first parts of names up to a dot: ``"layers.0"`` stands for ``"layers.0.kernel"``.

    Raises:
        OptionError: if one stands for no weight, or none is left to train.
    """
    names, frozen = list(names), set[str]()
    for part in freeze:
        found = {name for name in names if name == part or name.startswith(f"{part}.")}
        if not found:
            raise OptionError(f"training.freeze: the model has no weights {part!r}; it has {', '.join(names)}")
        frozen |= found
    if frozen == set(names):
        raise OptionError("training.freeze leaves no weights to train; name fewer of " + ", ".join(names))
    return frozen
