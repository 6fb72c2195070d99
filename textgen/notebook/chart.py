"""Charts as inline SVG: curves over a number, and bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from textgen.base.html import escaped

#: The width and height of a chart, in pixels, and its margins to the left and below, for the labels.
WIDTH, HEIGHT, LEFT, BELOW = 480, 170, 46, 22

#: Colours of curves that can be told apart on light and dark pages, and by the colour-blind.
COLOURS = ("#3b8ed0", "#d98200")

Points = Sequence[tuple[float, float]]


def curves(named: Mapping[str, Points], x_label: str, x_end: float) -> str:
    """Curves of the same quantity; a curve of one point is a dot.

    Args:
        named: their points, by what the legend calls them; curves without points are left out.
        x_label: what stands below the axis.
        x_end: the right end of the axis, which begins at 0.
    """
    named = {name: points for name, points in named.items() if points}
    values = [y for points in named.values() for _, y in points]
    if not values:
        return ""
    ticks = _ticks(min(values), max(values))
    low, high = ticks[0], ticks[-1]

    def place(x: float, y: float) -> str:
        right = LEFT + x / (x_end or 1) * (WIDTH - LEFT - 8)
        return f"{right:.0f},{_height(y, low, high):.0f}"

    drawn = [_tick(tick, _height(tick, low, high)) for tick in ticks]
    for index, (name, points) in enumerate(named.items()):
        colour = COLOURS[index % len(COLOURS)]
        drawn.append(
            f'<polyline points="{" ".join(place(*point) for point in points)}" fill="none" stroke="{colour}"'
            ' stroke-width="1.5"/>'
        )
        if len(points) < 30:
            drawn += [_dot(place(*point), colour) for point in points]
        left = LEFT + 150 + 130 * index
        drawn.append(f'<text x="{left}" y="11" fill="{colour}">{escaped(name)}</text>')
    drawn.append(f'<text x="{LEFT}" y="{HEIGHT - 4}">0</text>')
    drawn.append(f'<text x="{WIDTH - 8}" y="{HEIGHT - 4}" text-anchor="end">{x_end:,.0f} {escaped(x_label)}</text>')
    last = ", ".join(f"{name} {points[-1][1]:.3f}" for name, points in named.items())
    return _svg(drawn, f"curves over {x_end:,.0f} {x_label}, at their ends: {last}")


def bars(counts: Sequence[tuple[str, int]], x_label: str) -> str:
    """Bars side by side.

    Args:
        counts: what each bar is about, for the mouse and the ends of the axis, and its height; at least one.
        x_label: what stands below the axis.
    """
    high = max(count for _, count in counts) or 1
    room = (WIDTH - LEFT - 8) / len(counts)
    drawn = [_tick(tick, _height(tick, 0, high)) for tick in (0, high)]
    for index, (name, count) in enumerate(counts):
        top = min(_height(count, 0, high), _height(0, 0, high) - bool(count))
        drawn.append(
            f'<rect x="{LEFT + index * room:.1f}" y="{top:.0f}" width="{max(room - 1, 1):.1f}"'
            f' height="{_height(0, 0, high) - top:.0f}" fill="{COLOURS[0]}">'
            f"<title>{escaped(name)}: {count:,}</title></rect>"
        )
    drawn.append(f'<text x="{LEFT}" y="{HEIGHT - 4}">{escaped(counts[0][0])}</text>')
    end = f"{escaped(counts[-1][0])} {escaped(x_label)}"
    drawn.append(f'<text x="{WIDTH - 8}" y="{HEIGHT - 4}" text-anchor="end">{end}</text>')
    return _svg(drawn, f"histogram, {x_label} from {counts[0][0]} to {counts[-1][0]}")


def _svg(drawn: Sequence[str], label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        f' role="img" aria-label="{escaped(label)}" font-size="11" font-family="sans-serif" fill="currentColor"'
        f' style="max-width:100%;height:auto;display:block">{"".join(drawn)}</svg>'
    )


def _height(value: float, low: float, high: float) -> float:
    """Pixels from the top."""
    return 18 + (1 - (value - low) / ((high - low) or 1)) * (HEIGHT - BELOW - 18)


def _tick(value: float, height: float) -> str:
    return (
        f'<path d="M{LEFT} {height:.0f}H{WIDTH - 8}" stroke="currentColor" stroke-opacity=".2"/>'
        f'<text x="{LEFT - 5}" y="{height + 4:.0f}" text-anchor="end">{value:,.4g}</text>'
    )


def _dot(place: str, colour: str) -> str:
    x, _, y = place.partition(",")
    return f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>'


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers around a range, two to seven of them."""
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-3)))
    if (high - low) / step < 2.5:
        step /= 2
    elif (high - low) / step > 5:
        step *= 2
    first, last = math.floor(low / step), max(math.ceil(high / step), math.floor(low / step) + 1)
    return [tick * step for tick in range(first, last + 1)]
