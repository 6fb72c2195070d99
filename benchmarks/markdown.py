"""Numbers and tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def number(value: float, digits: int = 3) -> str:
    """A number with this many significant digits and commas between thousands."""
    return f"{value:,.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def duration(seconds: float) -> str:
    """A time in the largest of seconds, milliseconds and microseconds that has two digits before the point."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= 10 * size:
            return f"{number(seconds / size)} {unit}"
    return f"{number(seconds / 1e-6)} µs"


def table(columns: Sequence[str], alignment: str, lines: Sequence[Sequence[str]]) -> str:
    """A table; ``alignment`` has one letter per column: ``-`` for text, ``r`` for right-aligned figures."""
    rules = ["---:" if letter == "r" else "---" for letter in alignment]
    return "\n".join(
        "|" + "".join(f" {cell} |" if cell else " |" for cell in cells) for cells in (columns, rules, *lines)
    )
