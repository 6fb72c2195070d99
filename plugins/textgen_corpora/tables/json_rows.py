"""JSON: an array, one value after the other, or one per line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from textgen.errors import CorpusError
from textgen_corpora.tables.bad_rows import Row
from textgen_corpora.text_files.layouts import split_lines

#: Numbers keep their spelling, since they are read as text; NaN, which is not JSON, is read as null.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=lambda name: None)

_SPACE = re.compile(r"[ \t\n\r]*")

#: An error this far from the end of what has been read is not due to the end: only strings are longer.
_TOKEN = 64


def read_lines(pieces: Iterable[str]) -> Iterator[Row]:
    """Yields the values of a text with one JSON value per line; blank lines are left out."""
    for number, line in enumerate(split_lines(pieces), 1):
        if not line.strip():
            continue
        try:
            yield Row(number, line, _DECODER.decode(line))
        except (ValueError, RecursionError) as error:
            yield Row(number, line, fault=f" is not JSON: {_reason(error)}")


def read_values(name: str, pieces: Iterable[str]) -> Iterator[Row]:
    """Yields the elements of a JSON array, or the values of a text with one JSON value after the other.

    Only the value that is being read is held in memory.

    Raises:
        CorpusError: if the text is not JSON, since reading cannot resume after the mistake.
    """
    text = _Buffer(name, pieces)
    if text.take("["):
        if not text.take("]"):
            yield text.value()
            while text.take(","):
                yield text.value()
            if not text.take("]"):
                raise text.error("expected , or ] in the array")
        if not text.is_at_end():
            raise text.error("unexpected text after the array")
    while not text.is_at_end():
        yield text.value()


class _Buffer:
    """A text that is read in pieces, of which only the part from the current place on is held."""

    def __init__(self, name: str, pieces: Iterable[str]) -> None:
        self._name = name
        self._pieces = iter(pieces)
        self._text = ""
        self._at = 0
        self._line = 1

    def take(self, token: str) -> bool:
        """Passes white space, and the token if it is next; returns whether it was."""
        if self.is_at_end() or self._text[self._at] != token:
            return False
        self._at += 1
        return True

    def is_at_end(self) -> bool:
        """Passes white space; returns whether the text ends."""
        while True:
            space = _SPACE.match(self._text, self._at)
            assert space is not None  # it matches nothing, too
            self._pass(space.end())
            if self._at < len(self._text):
                return False
            if not self._read():
                return True

    def value(self) -> Row:
        """Passes a value."""
        if self.is_at_end():
            raise self.error("the text ends too early")
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise self.error(_reason(error)) from None
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos > len(self._text) - _TOKEN
                if not (cut and self._read()):
                    self._pass(error.pos)
                    raise self.error(error.msg) from None
                continue
            if end == len(self._text) and self._read():
                continue  # a number may continue
            source = self._text[self._at : min(end, self._at + _TOKEN)].partition("\n")[0]
            row = Row(self._line, source, value)
            self._pass(end)
            return row

    def error(self, reason: str) -> CorpusError:
        """An error at the current place."""
        rest = self._text[self._at : self._at + _TOKEN].partition("\n")[0]
        return CorpusError(f"{self._name}, line {self._line} is not JSON: {reason}, at {rest!r}; correct the line")

    def _pass(self, end: int) -> None:
        self._line += self._text.count("\n", self._at, end)
        self._at = end

    def _read(self) -> bool:
        """Reads a piece, and drops what was passed; returns whether there was one."""
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._text = self._text[self._at :] + piece
        self._at = 0
        return True


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
