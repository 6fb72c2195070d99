"""Generation: prompts in, text out, in chunks that change nothing.

Prompts of any lengths are read at once, right-padded; then a runtime writes chunks of ids, and rows that have ended
drop out of the batch. What a row writes depends on its prompt, the seed and its own seed; not on its neighbours, on the
chunk size, or on whether the text is streamed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textgen.errors import ArtifactError
from textgen.generation.runtime import Runtime
from textgen.model.state import State


@dataclass(frozen=True)
class Continuation:
    """Where a text left off.

    Attributes:
        state: of one row, before its last id is read.
        last_id: that id.
        step: of the row's randomness that were used.
        seen: ids of its prompt and text.
        seed: of the generation.
        row: the row's own seed.
    """

    state: State
    last_id: int
    step: int
    seen: tuple[int, ...]
    seed: int
    row: int


_FORMAT = "textgen-state-1"
_SEEN, _LAST = "seen", "last_id"


def save_continuation(path: Path, continuation: Continuation, model: str) -> None:
    """Write a continuation as a safetensors file, atomically.

    Args:
        path: the file.
        continuation: what to save.
        model: fingerprint of the model's weights.
    """
    arrays = dict(continuation.state)
    arrays[_SEEN] = np.array(continuation.seen, np.int32)
    arrays[_LAST] = np.array([continuation.last_id], np.int32)
    numbers = {name: str(getattr(continuation, name)) for name in ("step", "seed", "row")}
    State(arrays).save(path, {"format": _FORMAT, "model": model, **numbers})


def load_continuation(path: Path, runtime: Runtime, model: str) -> Continuation:
    """Read what :func:`save_continuation` wrote.

    Raises:
        ArtifactError: where the file is missing, altered, or of another model.
    """
    arrays, about = State.load(path)
    if about.get("format") != _FORMAT:
        raise ArtifactError(f"{path} is no state that textgen saved")
    if about["model"] != model:
        raise ArtifactError(f"{path} is the state of another model; load it with the run that it was saved with")
    state = State({name: array for name, array in arrays.items() if name not in (_SEEN, _LAST)})
    runtime.state_spec.check(state)
    return Continuation(
        state,
        last_id=int(arrays[_LAST][0]),
        step=int(about["step"]),
        seen=tuple(int(i) for i in arrays[_SEEN]),
        seed=int(about["seed"]),
        row=int(about["row"]),
    )
