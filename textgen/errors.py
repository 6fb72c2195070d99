"""What a user can put right: every error here reads as one line that says what, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TextgenError(Exception):
    """Base of all errors that the command line reports as one line, with exit code 2."""


class OptionError(TextgenError):
    """An option that does not exist, or a value outside its range."""


class CorpusError(TextgenError):
    """Text that cannot be read, or that does not suffice to train on."""


class ArtifactError(TextgenError):
    """A run folder that is missing, incomplete, altered, or of a format that this version does not know."""


class UnsupportedModelError(ArtifactError):
    """A model that a runtime or exporter cannot run."""


class PluginError(TextgenError):
    """A plugin that cannot be found, imported or used, or a name that two plugins claim."""


class UnavailableError(TextgenError):
    """Something that this machine lacks: a library, a device, the network."""


class UnknownNameError(PluginError):
    """A name that no plugin provides; the message offers the nearest ones.

    Args:
        kind: what was looked up, in the singular, such as ``"corpus"``.
        name: the name that was asked for.
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
    """The names nearest to ``name``, or all of them where none is near, as the end of a sentence."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"there are: {', '.join(names)}" if names else "there are none"
