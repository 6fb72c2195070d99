"""Errors that a user can correct. Each message is one line: what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable


class TextgenError(Exception):
    """The base class of these errors; the command line prints them on one line and exits with code 2."""


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
    """

    def __init__(self, character: str, position: int, ways: Iterable[str] = ("skip",)) -> None:
        self.character, self.position, self.ways = character, position, tuple(ways)
        what = f"character {character!r} (U+{ord(character):04X})" if len(character) == 1 else repr(character)
        advice = f", or use --on-unknown {' or '.join(self.ways)}" if self.ways else ""
        super().__init__(f"{what} at position {position} is not in the vocabulary; remove it{advice}")


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the known names similar to ``name``, or all of them if there are none."""
    import difflib

    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are: {', '.join(names)}" if names else "there are none"
