"""The size of a serialised graph's structure, found before it is parsed. Importing this module does not import onnx.

Parsing takes as much memory as the raw values of tensors have, but some 75 times as much for everything else: a small
file of empty nodes could fill the memory. So the bytes that are not raw values are counted and bounded first, by the
wire format of protocol buffers (https://protobuf.dev/programming-guides/encoding/) and ONNX's field numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: The most bytes of a graph that are not raw values.
MOST_STRUCTURE: Final = 2**20

#: How deep messages may lie in each other.
MOST_DEEP = 60

#: By message, the fields that lead to raw values, and the messages in them; ``raw`` are the values.
_FIELDS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph"},
    "graph": {1: "node", 5: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph"},
    "tensor": {9: "raw"},
}


def check_structure(content: bytes) -> None:
    """Check that a serialised model may be parsed.

    Raises:
        ValueError: if it has too much besides the values of tensors, or is not a message.
    """
    if len(content) > MOST_STRUCTURE:
        _Counter(content).count("model", 0, len(content), 0)


class _Counter:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._left = MOST_STRUCTURE

    def count(self, message: str, start: int, end: int, depth: int) -> None:
        """Count the bytes of a message that are not raw values."""
        if depth > MOST_DEEP:
            raise ValueError("its parts lie too deep in each other")
        at = start
        while at < end:
            began = at
            tag, at = self._number(at, end)
            kind, inside = tag & 7, _FIELDS[message].get(tag >> 3)
            if kind == 0:
                _, at = self._number(at, end)
            elif kind == 2:
                length, at = self._number(at, end)
                if length > end - at:
                    raise ValueError("it is not ONNX")
                at += length
            elif kind in (1, 5):
                at += 8 if kind == 1 else 4
            else:
                raise ValueError("it is not ONNX")
            self._left -= at - began
            if kind == 2 and inside is not None:
                self._left += length
                if inside != "raw":
                    self.count(inside, at - length, at, depth + 1)
            if self._left < 0:
                raise ValueError(f"it has more than {MOST_STRUCTURE:,} bytes besides the values of tensors")

    def _number(self, at: int, end: int) -> tuple[int, int]:
        """A number at a place, and the place after it."""
        number = 0
        for shift in range(0, 70, 7):
            if at >= end:
                break
            byte = self._content[at]
            at += 1
            number |= (byte & 127) << shift
            if byte < 128:
                return number, at
        raise ValueError("it is not ONNX")
