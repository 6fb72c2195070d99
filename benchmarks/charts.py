"""Curves of one quantity over another, the exponents that fit them, and the places where they bend."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.markdown import number, table


class Bend(NamedTuple):
    """Two power laws that meet.

    Attributes:
        at: the place where they meet.
        before: the exponent up to that place.
        after: the exponent from that place on.
    """

    at: float
    before: float
    after: float


@dataclass(frozen=True)
class Curve:
    """The measurements of one contender at several places.

    Attributes:
        name: of the contender.
        x: the places, ascending.
        values: at each place, one value per round.
    """

    name: str
    x: list[float]
    values: list[list[float]]

    @property
    def medians(self) -> list[float]:
        """The median at each place."""
        return [statistics.median(values) for values in self.values]


@dataclass(frozen=True)
class Chart:
    """Curves over one quantity.

    Attributes:
        title: of the chart.
        x_label: the quantity.
        y_label: the measured quantity, with its unit.
        curves: one per contender.
        theory: the expected shape, and why; may be empty.
        is_logarithmic: whether both axes are logarithmic and exponents are fitted.
    """

    title: str
    x_label: str
    y_label: str
    curves: list[Curve]
    theory: str = ""
    is_logarithmic: bool = True

    def markdown(self) -> str:
        """A table of the medians, with the exponents below them."""
        found = [dict(zip(curve.x, curve.medians, strict=True)) for curve in self.curves]
        places = sorted({x for curve in self.curves for x in curve.x})
        lines = [[f"{x:,.0f}", *(number(medians[x], 4) if x in medians else "" for medians in found)] for x in places]
        if self.is_logarithmic:
            fits = {"exponent": _shown_exponent, "bends at": _shown_bend}
            shown = [[name, *map(fit, self.curves)] for name, fit in fits.items()]
            lines += [line for line in shown if any(line[1:])]
        columns = [self.x_label, *(curve.name for curve in self.curves)]
        head = f"**{self.title}**, {self.y_label}{'. ' + self.theory if self.theory else ''}"
        return f"{head}\n\n{table(columns, 'r' * len(columns), lines)}"


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """The exponent of the power law that fits best: the least-squares slope of the logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def bend(x: Sequence[float], y: Sequence[float]) -> Bend | None:
    """The inner place at which two power laws that meet there fit best; ``None`` for fewer than five places.

    For each place, two lines that meet there are fitted to the logarithms by least squares.
    """
    if len(x) < 5:
        return None
    across, up = np.log(x), np.log(y)

    def fit(knee: float) -> tuple[float, float, float]:
        """The residual sum of squares and both slopes."""
        basis = np.stack([np.ones_like(across), across, np.maximum(across - knee, 0)], axis=1)
        parts = np.linalg.lstsq(basis, up, rcond=None)[0]
        return float(np.sum((basis @ parts - up) ** 2)), float(parts[1]), float(parts[1] + parts[2])

    best = min(range(1, len(x) - 1), key=lambda index: fit(float(across[index]))[0])
    _, before, after = fit(float(across[best]))
    return Bend(x[best], before, after)


def _shown_exponent(curve: Curve) -> str:
    return f"{exponent(curve.x, curve.medians):.2f}" if len(curve.x) > 1 else ""


def _shown_bend(curve: Curve) -> str:
    found = bend(curve.x, curve.medians)
    return f"{found.at:,.0f}: {found.before:.2f}, then {found.after:.2f}" if found else ""
