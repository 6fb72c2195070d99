"""The losses of the batches of a run, as many as a chart can show."""

from __future__ import annotations

from dataclasses import dataclass, field

#: The most means that are kept.
MOST = 160


@dataclass
class Losses:
    """Means over as many batches as it takes to keep at most :data:`MOST` of them, however long the run is."""

    _each: int = 1
    _means: list[tuple[float, float]] = field(default_factory=list)
    _open: list[tuple[float, float]] = field(default_factory=list)

    def add(self, batch: int, loss: float) -> None:
        """Adds the loss of a batch, whose number is above that of the last one."""
        self._open.append((batch, loss))
        if len(self._open) < self._each:
            return
        self._means.append(_mean(self._open))
        self._open = []
        if len(self._means) >= MOST:
            self._means = [_mean(self._means[i : i + 2]) for i in range(0, MOST, 2)]
            self._each *= 2

    @property
    def points(self) -> list[tuple[float, float]]:
        """The mean number of the batches, and their mean loss, in order."""
        return [*self._means, *([_mean(self._open)] if self._open else [])]


def _mean(points: list[tuple[float, float]]) -> tuple[float, float]:
    batches, losses = zip(*points, strict=True)
    return sum(batches) / len(points), sum(losses) / len(points)
