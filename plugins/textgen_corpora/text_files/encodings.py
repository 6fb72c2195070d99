"""Encodings: told by the mark of a file, or guessed from its bytes."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator

#: The encodings that a byte-order mark tells. Those of four bytes come first: one begins with a mark of two.
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

#: Bytes that hold any mark.
MARK_SIZE = 4

#: The bytes that are letters and signs in cp1252, but control characters in latin-1.
_CP1252 = frozenset(range(0x80, 0xA0))

#: The bytes that cp1252 leaves open.
_NOT_CP1252 = frozenset({0x81, 0x8D, 0x8F, 0x90, 0x9D})

#: The least share of NUL among the bytes of a text whose characters have two bytes.
_WIDE = 0.2


def marked_encoding(head: bytes) -> str | None:
    """The encoding that the first bytes of a text tell; ``None`` without a byte-order mark."""
    return next((encoding for mark, encoding in MARKS.items() if head.startswith(mark)), None)


def is_wide(encoding: str) -> bool:
    """Whether the characters of an encoding have two or four bytes, NUL among them."""
    return codecs.lookup(encoding).name.startswith(("utf-16", "utf-32"))


def guess(read: Callable[[], Iterable[bytes]]) -> tuple[str, bool]:
    """Guesses an encoding that decodes all of a text.

    Args:
        read: yields the bytes of the text from their beginning.

    Returns:
        The encoding, and whether the text has NUL characters in it.
    """
    with_nul = None
    for encoding in _candidates(read):
        has_nul = _decode(encoding, read())
        if has_nul is False:
            return encoding, False
        if has_nul:
            with_nul = with_nul or encoding
    assert with_nul is not None  # latin-1 decodes anything
    return with_nul, True


def _candidates(read: Callable[[], Iterable[bytes]]) -> Iterator[str]:
    """Yields encodings in the order in which they should be tried; the last one decodes anything."""
    head = b""
    seen: set[int] = set()
    size = 0
    nul = [0, 0]  # at even and at odd positions
    for data in read():
        head = (head + data[:MARK_SIZE])[:MARK_SIZE]
        seen.update(data)
        for half in range(2):
            nul[(size + half) % 2] += data[half::2].count(0)
        size += len(data)
    if marked := marked_encoding(head):
        yield marked
    yield "utf-8"
    if sum(nul) > _WIDE * size:
        yield "utf-16-le" if nul[1] > nul[0] else "utf-16-be"
    if seen & _CP1252 and not seen & _NOT_CP1252:
        yield "cp1252"
    yield "latin-1"


def _decode(encoding: str, pieces: Iterable[bytes]) -> bool | None:
    """Whether a text has NUL characters; ``None`` if it is not in this encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    has_nul = False
    try:
        for data in pieces:
            has_nul = "\0" in decoder.decode(data) or has_nul
        decoder.decode(b"", final=True)
    except UnicodeError:
        return None
    return has_nul
