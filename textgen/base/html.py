"""HTML for notebooks: what is shown is escaped, and styled where it stands, so that a saved file shows it anywhere.

Colours are the page's own, or translucent, so that they suit light and dark pages. Texts of corpora and models stand in
``code`` and ``pre``, where a page sets no formulas.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from textgen.base.console import visible

#: The most characters of a text, and rows of a table, that are shown.
MOST_CHARACTERS, MOST_ROWS = 2000, 50

#: The most characters of a text whose tokens are coloured, and the surprise in bits at which the colour is strongest.
MOST_COLOURED, MOST_BITS = 600, 10

_CELL = "text-align:left;vertical-align:top;padding:1px 12px 1px 0"
_TEXT = "white-space:pre-wrap;overflow-wrap:anywhere;margin:0;background:none;color:inherit;padding:0"


def escaped(text: object) -> str:
    """A text as HTML shows it; of control characters it shows the codes, and of half a surrogate pair, too."""
    whole = str(text).encode("utf-8", "backslashreplace").decode()
    return escape(visible(whole))


def cut(text: str, most: int = MOST_CHARACTERS) -> str:
    """The first characters of a text, and how many more there are."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} more characters)"


def most_each(count: int) -> int:
    """The most characters that are shown of each of several texts."""
    return max(MOST_CHARACTERS * 10 // max(count, 1), 100)


def code(text: str, most: int = MOST_CHARACTERS) -> str:
    """A text within a line or a cell, as it is, cut."""
    return f'<code style="{_TEXT}">{escaped(cut(text, most))}</code>'


def block(text: str, most: int = MOST_CHARACTERS) -> str:
    """A text of its own lines, cut."""
    return preformatted(escaped(cut(text, most)))


def preformatted(html: str) -> str:
    """A text of its own lines that is HTML already."""
    return f'<pre style="{_TEXT};margin:6px 0">{html}</pre>'


def coloured(tokens: Iterable[tuple[str, float | None]], text: str, most: int) -> str:
    """A text with coloured tokens: the less likely a token, the stronger its colour.

    Args:
        tokens: their texts, and their log-probabilities (nats), if they are known.
        text: the texts of the tokens, as far as they belong to it.
        most: characters that are shown, up to :data:`MOST_COLOURED`.
    """
    parts, start, most = [], 0, min(most, MOST_COLOURED)
    for piece, log_probability in tokens:
        shown = text[start : min(start + len(piece), most)]
        start += len(piece)
        if log_probability is None:
            parts.append(escaped(shown))
        elif shown:
            strength = min(abs(log_probability) / math.log(2) / MOST_BITS, 1) * 0.75
            style = f"background:rgba(230,97,0,{strength:.2f})"
            parts.append(f'<span style="{style}" title="{math.exp(log_probability):.2g}">{escaped(shown)}</span>')
    return "".join(parts) + escaped(cut(text, most)[min(start, most) :])


def line(text: str, *, faint: bool = False) -> str:
    """A line of words."""
    return f'<div style="margin:2px 0{";opacity:.7" * faint}">{escaped(text)}</div>'


def box(title: str, *parts: str) -> str:
    """What is shown of an object: a title, and parts that are HTML already."""
    head = f"<div><strong>{escaped(title)}</strong></div>" if title else ""
    return f'<div style="max-width:60em;line-height:1.4">{head}{"".join(parts)}</div>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, of its first rows if it is long.

    Args:
        head: the titles of its columns; none if they are empty.
        rows: cells that are HTML already.
    """
    listed = list(rows)
    more = len(listed) - MOST_ROWS
    titles = _row("th", map(escaped, head))
    shown = "".join(_row("td", row) for row in listed[:MOST_ROWS])
    caption = line(f"and {more:,} more", faint=True) if more > 0 else ""
    return (
        '<table style="border-collapse:collapse;margin:4px 0">'
        + (f"<thead>{titles}</thead>" if any(head) else "")
        + f"<tbody>{shown}</tbody></table>{caption}"
    )


def _row(tag: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag} style={_CELL!r}>{cell}</{tag}>' for cell in cells)}</tr>"


def facts(named: Mapping[str, str]) -> str:
    """A table of facts by their names; empty ones are left out."""
    return table((), [(escaped(name), code(value)) for name, value in named.items() if value])
