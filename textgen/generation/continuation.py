"""A point from which a text can be continued, and its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textgen.base.files import quoted
from textgen.errors import ArtifactError
from textgen.generation.runtime import Runtime
from textgen.model.state import State

_FORMAT = "textgen-state-1"
_SEEN, _LAST = "seen", "last_id"


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

    def save(self, path: Path, model: str) -> None:
        """Write a safetensors file, atomically; ``model`` is a fingerprint of the model's weights."""
        arrays = dict(self.state)
        arrays[_SEEN] = np.array(self.seen, np.int32)
        arrays[_LAST] = np.array(self.tail, np.int32)
        numbers = {name: str(getattr(self, name)) for name in ("step", "seed", "row", "unread")}
        State(arrays).save(path, {"format": _FORMAT, "model": model, **numbers})

    @classmethod
    def load(cls, path: Path, runtime: Runtime, model: str) -> Continuation:
        """Read a file that :meth:`save` wrote.

        Raises:
            ArtifactError: if the file is missing, was altered, or belongs to another model.
        """
        if not path.exists():
            raise ArtifactError(f"{path} does not exist; write one with: textgen sample --save-state {quoted(path)}")
        arrays, about = State.load(path)
        if about.get("format") != _FORMAT:
            raise ArtifactError(f"{path} is not a saved textgen state")
        if about["model"] != model:
            raise ArtifactError(f"{path} is the state of another model; load it with the run that it was saved with")
        state = State({name: array for name, array in arrays.items() if name not in (_SEEN, _LAST)})
        runtime.state_spec.check(state)
        return cls(
            state=state,
            tail=tuple(int(i) for i in arrays[_LAST]),
            step=int(about["step"]),
            seen=tuple(int(i) for i in arrays[_SEEN]),
            seed=int(about["seed"]),
            row=int(about["row"]),
            unread=int(about.get("unread", 0)),
        )
