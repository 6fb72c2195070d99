"""Text encodings: declared by a byte-order mark, or guessed from the bytes."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator

#: The encodings that byte-order marks declare. Marks of four bytes come first: one begins with a mark of two.
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

#: The bytes that cp1252 does not define.
_NOT_CP1252 = frozenset({0x81, 0x8D, 0x8F, 0x90, 0x9D})

#: The most values of the higher bytes of UTF-16 text: that of its alphabet, and those of blanks, signs and accents.
_HIGHER = 4


def marked_encoding(head: bytes) -> str | None:
    """The encoding that the byte-order mark of a text declares; ``None`` without one."""
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
    """Yields encodings in the order in which they are to be tried; the last one decodes anything."""
    head = b""
    size = 0
    even: set[int] = set()
    odd: set[int] = set()
    for data in read():
        head = (head + data[:MARK_SIZE])[:MARK_SIZE]
        (odd if size % 2 else even).update(data[::2])
        (even if size % 2 else odd).update(data[1::2])
        size += len(data)
    if marked := marked_encoding(head):
        yield marked
    yield "utf-8"
    for higher, lower, encoding in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if 0 in higher - lower and len(higher) <= min(_HIGHER, len(lower) - 1):
            yield encoding
    seen = even | odd
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
