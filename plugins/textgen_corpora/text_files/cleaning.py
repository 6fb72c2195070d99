"""Changes to texts on request: HTML entities, backslashes that stand for line breaks, Unicode normal form."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator

#: Changes a text.
Change = Callable[[str], str]

#: Names of entities that AG News has without their ampersand. Others, such as copy, may be words before a semicolon.
_NAMES = "quot|amp|lt|gt|apos|nbsp|hellip|mdash|ndash|lsquo|rsquo|ldquo|rdquo"

#: An entity whose ampersand became a blank, as in "doesn #39;t" and " lt;b gt;", or was lost.
_BROKEN = re.compile(rf"(?: |^)({_NAMES});| ?(?<!&)(#\d{{2,6}}|#[xX][0-9a-fA-F]{{2,6}});", re.MULTILINE)

#: Characters of a stream to gather before it is cut although it has no white space.
_LONG = 1 << 20

#: Signs of entities and breaks, and the distance at which they are far.
_SIGNS, _NEAR = re.compile(r"[&#;\\]"), 32


def unescape_html(text: str) -> str:
    """Replaces HTML entities by their characters, those too whose ampersand became a blank, as in AG News.

    Example:
        >>> unescape_html("doesn #39;t &lt;b&gt; lt;i gt; for  #36;10")
        "doesn't <b><i> for $10"
    """
    if ";" not in text:
        return text
    text = html.unescape(_BROKEN.sub(lambda entity: f"&{entity[1] or entity[2]};", text))
    return text.replace("\r\n", "\n").replace("\r", "\n")  # carriage returns may be entities


def backslashes_to_blanks(text: str) -> str:
    r"""Replaces backslashes, which AG News has for line breaks, by blanks; none is added beside another.

    Example:
        >>> backslashes_to_blanks("a second\\team\\\\and more\\")
        'a second team and more'
    """
    if "\\" not in text:
        return text
    # Each run is looked at from its beginning only, and whole, so that the time is linear in its length.
    text = re.sub(r"(?<!\\)\\++(?=\s|$)|(?:(?<=\s)|^)\\++", "", text)
    return re.sub(r"\\+", " ", text)


def backslashes_to_breaks(text: str) -> str:
    r"""Replaces a backslash and n by a line break, and other backslashes as in :func:`backslashes_to_blanks`.

    Example:
        >>> backslashes_to_breaks("one\\ntwo\\three\\")
        'one\ntwo three'
    """
    return backslashes_to_blanks(text.replace("\\n", "\n")) if "\\" in text else text


def nfc(text: str) -> str:
    """Returns the text in Unicode normal form C: accents are part of their letters where such characters exist."""
    return unicodedata.normalize("NFC", text)


def changed(text: str, changes: Iterable[Change]) -> str:
    """The text after all changes, in their order."""
    for change in changes:
        text = change(text)
    return text


def changed_stream(pieces: Iterable[str], changes: tuple[Change, ...]) -> Iterator[str]:
    """Yields the changed pieces of a text. They are cut where no change could reach across."""
    if not changes:
        yield from pieces
        return
    rest = ""
    for piece in pieces:
        rest += piece
        cut = _safe_cut(rest)
        if text := changed(rest[:cut], changes):
            yield text
        rest = rest[cut:]
    if text := changed(rest, changes):
        yield text


def _safe_cut(text: str) -> int:
    """The last place where a text can be cut; 0 if there is none yet.

    It lies before white space, which begins no word, no break, and joins no character before it. A long text without
    white space is cut far from all signs of entities and breaks.
    """
    found = max(text.rfind(" "), text.rfind("\n"))
    if found > 0 or len(text) < _LONG:
        return max(found, 0)
    for cut in range(len(text) - _NEAR, len(text) // 2, -1):
        if not _joins(text[cut]) and not _SIGNS.search(text, cut - _NEAR, cut + _NEAR):
            return cut
    return len(text)


def _joins(character: str) -> bool:
    """Whether a character may become one with the one before it: marks, and the later parts of a Hangul syllable."""
    return unicodedata.category(character).startswith("M") or "\u1160" <= character <= "\u11ff"
