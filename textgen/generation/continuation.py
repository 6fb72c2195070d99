"""A point from which a text can be continued, and its file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen.errors import ArtifactError, OptionError, shortened
from textgen.files.reading import LARGEST, check_numbers, read_bytes
from textgen.files.writing import destination, is_special, quoted, write_atomically
from textgen.generation.runtime import Runtime
from textgen.model.state import State
from textgen.runs.output import check_output
from textgen.text.decoder import CONTEXT
from textgen.text.tokenizer import Tokenizer

#: The format of files, and how the names of all its versions begin.
_FORMAT, _FORMATS = "textgen-state-1", b'"textgen-state-'

#: Bytes in which the header of a file names its format.
_HEAD = 4096

_SEEN, _LAST = "seen", "last_id"

#: The numbers of a continuation; each is below this one.
_BELOW = {"step": 2**62, "seed": 2**64, "row": 2**64, "unread": 2**31}

#: A whole number as text.
_WHOLE = re.compile("0|[1-9][0-9]{0,19}")

#: Bytes of a file besides the state and the ids: its header.
_MOST_BESIDES = 2**20


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """A point from which a text can be continued: writing it in two parts gives the same text as writing it at once.

    Attributes:
        state: of one row, before its last id is read.
        tail: the last ids of the text, at least one.
        unread: the number of characters at the end of the text of ``tail`` that have not been written yet, because the
            text had its full length in the middle of a token.
        step: the number of steps of the row's randomness that were used.
        seen: the ids that occur in its prompt and text.
        seed: of the generation.
        row: the seed of the row.
    """

    state: State
    tail: tuple[int, ...]
    step: int
    seen: tuple[int, ...]
    seed: int
    row: int
    unread: int = 0

    @property
    def last_id(self) -> int:
        """The last id of the text."""
        return self.tail[-1]

    def to_bytes(self, model: str) -> bytes:
        """The content of a file: safetensors, with numbers in its metadata.

        Args:
            model: a fingerprint of the model's weights.
        """
        arrays = dict(self.state)
        arrays[_SEEN] = np.array(self.seen, np.int32)
        arrays[_LAST] = np.array(self.tail, np.int32)
        numbers = {name: str(getattr(self, name)) for name in _BELOW}
        return State(arrays).to_bytes({"format": _FORMAT, "model": model, **numbers})

    @classmethod
    def from_bytes(
        cls, content: bytes, runtime: Runtime, tokenizer: Tokenizer, model: str, where: str = "the saved state"
    ) -> Continuation:
        """Read what :meth:`to_bytes` returned.

        Args:
            content: of a file.
            runtime: that is to continue the text.
            tokenizer: of its model.
            model: the fingerprint of the model's weights.
            where: the name of the content in errors.

        Raises:
            ArtifactError: if it was altered, or belongs to another model.
        """
        arrays, about = State.from_bytes(content, where)
        if about.get("format") != _FORMAT:
            raise ArtifactError(f"{where} is not a saved textgen state")
        if about.get("model") != model:
            raise ArtifactError(f"{where} is the state of another model; load it with the run that it was saved with")
        try:
            numbers = _numbers(about)
            seen, tail = (_ids(arrays, name, runtime.vocab_size) for name in (_SEEN, _LAST))
            if not 1 <= len(tail) <= CONTEXT:
                raise ValueError(f"{_LAST} has {len(tail)} ids")
            if numbers["unread"] > len(tokenizer.decode(tail)):
                raise ValueError(f"unread is {numbers['unread']}, more than the text has characters")
            state = State({name: array for name, array in arrays.items() if name not in (_SEEN, _LAST)})
            _check_state(state, tail[-1], runtime)
        except ValueError as error:
            raise ArtifactError(f"{where} was altered: {error}; write it again with --save-state") from None
        return cls(state=state, tail=tail, seen=seen, **numbers)

    def save(self, path: Path, model: str) -> None:
        """Write :meth:`to_bytes` to a file, atomically."""
        write_atomically(path, self.to_bytes(model))

    @classmethod
    def load(cls, path: Path, runtime: Runtime, tokenizer: Tokenizer, model: str) -> Continuation:
        """Read a file that :meth:`save` wrote; arguments as for :meth:`from_bytes`.

        Raises:
            ArtifactError: if the file is missing, was altered, or belongs to another model.
        """
        if not os.path.exists(path):
            raise ArtifactError(f"{path} does not exist; write one with: textgen sample --save-state {quoted(path)}")
        try:
            content = read_bytes(path, runtime.state_spec.nbytes + 8 * runtime.vocab_size + _MOST_BESIDES)
        except OSError as error:
            raise ArtifactError(f"{path} cannot be read: {error.strerror}") from None
        return cls.from_bytes(content, runtime, tokenizer, model, where=str(path))


def check_state_output(path: Path, option: str) -> None:
    """Checks that a state can be written to a file: one that exists must be a saved state, or empty.

    Args:
        path: the file.
        option: the option that names it, for messages.

    Raises:
        OptionError: as :func:`~textgen.runs.output.check_output`, or if the file is something else.
    """
    check_output(path, option)
    target = destination(path)
    if isinstance(target, int) or is_special(target) or not target.exists():
        return
    try:
        with target.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise OptionError(f"{path} exists and cannot be read: {(error.strerror or str(error)).lower()}") from None
    if head and _FORMATS not in head:
        raise OptionError(f"{path} exists and is not a saved state; choose another path for {option}")


def _numbers(about: Mapping[str, str]) -> dict[str, int]:
    """The numbers of a file's metadata, which are texts."""
    numbers = {}
    for name, below in _BELOW.items():
        text = about.get(name, "0" if name == "unread" else "")
        if not _WHOLE.fullmatch(text) or int(text) >= below:
            raise ValueError(f"{name} is {shortened(text, 40)}, not a whole number below {below}")
        numbers[name] = int(text)
    return numbers


def _ids(arrays: Mapping[str, NDArray[Any]], name: str, vocab_size: int) -> tuple[int, ...]:
    """The ids of an array ``[n]`` int32."""
    ids = arrays.get(name)
    if ids is None or ids.dtype != np.int32 or ids.ndim != 1:
        raise ValueError(f"{name} is not a list of ids")
    if len(ids) and not 0 <= ids.min() <= ids.max() < vocab_size:
        raise ValueError(f"{name} has ids that the model does not have")
    return tuple(ids.tolist())


def _check_state(state: State, last_id: int, runtime: Runtime) -> None:
    """Check that a state is one of the model's: a step from it gives numbers."""
    runtime.state_spec.check(state)
    if len(state) and any(len(array) != 1 for array in state.values()):
        raise ValueError("the state is not of one row")
    for name, array in state.items():
        check_numbers(name, array, LARGEST)
    with np.errstate(all="ignore"):
        logits, after = runtime.forward(np.array([[last_id]], np.int32), state)
        numbers = [logits, *(np.asarray(array) for array in after.values())]
        if not all(np.isfinite(array).all() for array in numbers):
            raise ValueError("the state gives numbers that are not finite")
