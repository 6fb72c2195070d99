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
    """A character that the vocabulary lacks, under ``on_unknown="error"``.

    Args:
        character: the character (one code point).
        position: its index in the text, from 0, in code points.
    """

    def __init__(self, character: str, position: int) -> None:
        self.character, self.position = character, position
        super().__init__(
            f"character {character!r} (U+{ord(character):04X}) at position {position} is not in the vocabulary; "
            f"remove it, or use --on-unknown skip or unk"
        )


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the known names similar to ``name``, or all of them if there are none."""
    import difflib

    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are: {', '.join(names)}" if names else "there are none"
