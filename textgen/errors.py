"""Errors that a user can correct. Each message is one line: what is wrong, where, and what to do."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

#: The most characters of a message: one that quotes a long value has its middle left out.
LONGEST = 1_500


class TextgenError(Exception):
    """The base class of these errors; the command line prints them on one line and exits with code 2.

    Args:
        message: becomes one line of at most :data:`LONGEST` characters, whatever the file says that it quotes.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


def one_line(text: str, longest: int = LONGEST) -> str:
    """A text on one line for a message, without its middle if it has more than ``longest`` characters."""
    line = " ".join(text.splitlines())
    half = longest // 2 - 2
    return line if len(line) <= longest else f"{line[:half]} … {line[-half:]}"


class OptionError(TextgenError):
    """An unknown option, or a value outside its range."""


class CorpusError(TextgenError):
    """Text that cannot be read, or too little text to train on."""


class ArtifactError(TextgenError):
    """A run folder that is missing, incomplete, altered, or in an unknown format."""


class UnsupportedModelError(ArtifactError):
    """A model that a runtime cannot run or an exporter cannot export."""


class PluginError(TextgenError):
    """A plugin that cannot be found, imported or used, or a name that two plugins claim."""


def fault_of(owner: str, fault: str) -> PluginError:
    """The error for what only the author of a plugin can mend.

    Args:
        owner: the plugin, as errors name it.
        fault: what it did, such as ``"has written no file"``.
    """
    return PluginError(f"{owner} {fault}: report this to its author")


class UnavailableError(TextgenError):
    """Something is missing on this machine: a library, a device, the network."""


class UnknownNameError(PluginError):
    """A name that no plugin provides; the message suggests similar names.

    Args:
        kind: the kind of thing, in the singular, such as ``"corpus"``.
        name: the unknown name.
        known: the names that exist.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name = kind, name
        super().__init__(f"unknown {kind} {name!r}; {suggestion(name, known)}")


class UnknownCharacterError(TextgenError):
    """Text that the vocabulary lacks, under ``on_unknown="error"``: a character, or a longer piece such as a word.

    Args:
        character: the text, at least one code point.
        position: its index in the whole text, from 0, in code points.
        ways: the other values of ``on_unknown`` that the tokenizer has: ``"skip"``, ``"unk"`` or both.
        remedy: what to do first; by default to remove the character.
    """

    def __init__(
        self, character: str, position: int, ways: Iterable[str] = ("skip",), remedy: str = "remove it"
    ) -> None:
        self.character, self.position, self.ways, self.remedy = character, position, tuple(ways), remedy
        quoted = " or ".join(f'"{way}"' for way in self.ways)
        advice = f", or use --on-unknown {' or '.join(self.ways)}, in Python on_unknown={quoted}" if self.ways else ""
        where = f"{'character ' * (len(character) == 1)}{describe_character(character)} at position {position}"
        super().__init__(f"{where} is not in the vocabulary; {remedy}{advice}")


def shortened(value: object, most: int = 60) -> str:
    """A value as Python writes it, for a message: its first ``most`` characters and an ellipsis, if it is longer.

    A value that Python cannot write, such as a number of 5,000 digits, is named by its type.
    """
    try:
        shown = repr(value)
    except Exception:
        return f"a value of type {type(value).__name__}"
    end = shown[-1] if isinstance(value, str) else ""  # the quote
    return shown if len(shown) <= most else f"{shown[:most]}…{end}"


def describe_character(text: str) -> str:
    """A character with its code point, or a longer text as it is, for messages."""
    if len(text) != 1:
        return repr(text)
    # A combining mark would change the quote before it.
    shown = repr(text) if unicodedata.combining(text) == 0 else f"'\u25cc{text}'"
    return f"{shown} (U+{ord(text):04X})"


#: Names that :func:`suggestion` lists at most.
LISTED = 40


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the known names similar to ``name``, or the first ones if there are none."""
    import difflib

    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(map(_listed, near))}?"
    more = f" and {len(names) - LISTED:,} more" if len(names) > LISTED else ""
    return f"there are: {', '.join(map(_listed, names[:LISTED]))}{more}" if names else "there are none"


def _listed(name: str) -> str:
    """A name as an element of a list in a sentence."""
    return repr(name) if "," in name or name != name.strip() else name
