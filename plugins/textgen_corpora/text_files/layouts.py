"""From the text of files to one stream, or to documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

#: A stream looks like a list of documents from this many lines on.
_MANY = 50

#: Characters of a short line, and the least share of short lines among those of such a list.
_SHORT, _MOST = 80, 0.95

#: The greatest share of blank lines in such a list; prose, plays, poems and source code have more.
_BLANK = 0.01


def split_lines(pieces: Iterable[str]) -> Iterator[str]:
    r"""Splits a text at ``\n`` only: other line separators of Unicode are ordinary characters.

    Example:
        >>> list(split_lines(["one\ntw", "o\n"]))
        ['one', 'two', '']
    """
    start: list[str] = []
    for piece in pieces:
        end, *lines = piece.split("\n")
        start.append(end)
        if lines:
            yield "".join(start)
            start = [lines.pop()]
            yield from lines
    yield "".join(start)


def split_paragraphs(pieces: Iterable[str]) -> Iterator[str]:
    r"""Splits a text at blank lines, one or more; the other lines of a paragraph stay as they are.

    Example:
        >>> list(split_paragraphs(["one\n two\n\n", "\nthree\n"]))
        ['one\n two', 'three']
    """
    paragraph: list[str] = []
    for line in split_lines(pieces):
        if line.strip():
            paragraph.append(line)
        elif paragraph:
            yield "\n".join(paragraph)
            paragraph = []
    if paragraph:
        yield "\n".join(paragraph)


def joined(files: Iterable[Iterable[str]]) -> Iterator[str]:
    r"""Yields several texts as one, in pieces. Each begins on a new line; nothing else is put between them.

    Example:
        >>> "".join(joined([["one"], ["two\n"], ["three"]]))
        'one\ntwo\nthree'
    """
    on_a_new_line = True
    for pieces in files:
        for number, piece in enumerate(pieces):
            if number == 0 and not on_a_new_line:
                yield "\n"
            yield piece
            on_a_new_line = piece.endswith("\n")


def has_short_lines(text: str) -> bool:
    """Whether a text looks like a list of documents, one per line: many lines, nearly all short, hardly any blank."""
    lines = text.removesuffix("\n").split("\n")
    blank = sum(not line.strip() for line in lines)
    short = sum(len(line) <= _SHORT for line in lines)
    return len(lines) >= _MANY and blank <= _BLANK * len(lines) and short >= _MOST * len(lines)
