"""Draws the charts of a result: ``python -m benchmarks.plots FILE`` writes a PNG beside the JSON file."""

from __future__ import annotations

import io
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.charts import Chart
from benchmarks.report import Result
from textgen import write_atomically

#: Charts per row, and the width and height of each in inches.
COLUMNS, SIZE = 2, (6.4, 3.8)


def save_plot(charts: Sequence[Chart], path: Path) -> None:
    """Draws charts in a grid: lines through the medians, with error bars from the minimum to the maximum."""
    columns = min(COLUMNS, len(charts))
    rows = -(-len(charts) // columns)
    figure = Figure(figsize=(SIZE[0] * columns, SIZE[1] * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for place, chart in zip(axes, charts, strict=False):
        _draw(place, chart)
    for place in axes[len(charts) :]:
        place.set_axis_off()
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=100)
    write_atomically(path, image.getvalue())


def _draw(axes: Axes, chart: Chart) -> None:
    for curve in chart.curves:
        middle = [statistics.median(values) for values in curve.values]
        below = [m - min(values) for m, values in zip(middle, curve.values, strict=True)]
        above = [max(values) - m for m, values in zip(middle, curve.values, strict=True)]
        axes.errorbar(curve.x, middle, yerr=[below, above], marker=".", capsize=2, label=curve.name)
    if chart.is_logarithmic:
        axes.set(xscale="log", yscale="log")
    axes.set_title(chart.title, fontsize=10)
    axes.set(xlabel=chart.x_label, ylabel=chart.y_label)
    axes.grid(alpha=0.3)
    if chart.curves:
        axes.legend(fontsize=8)


if __name__ == "__main__":
    file = Path(sys.argv[1])
    save_plot(Result.read(file).charts, file.with_suffix(".png"))
