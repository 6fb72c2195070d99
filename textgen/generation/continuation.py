"""Going on with a text later: a row's state as a value that can be saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from textgen.errors import ArtifactError, OptionError
from textgen.generation.loop import Continuation, Generation, Request
from textgen.generation.runtime import Runtime
from textgen.model.state import State
from textgen.text.tokenizer import Tokenizer

_FORMAT = "textgen-state-1"
_SEEN, _LAST = "seen", "last_id"


def continue_after(runtime: Runtime, tokenizer: Tokenizer, request: Request, generation: Generation) -> Continuation:
    """Where a text can be gone on from: writing n characters, then m from there, gives the same as n + m at once.

    Args:
        runtime: that wrote the text.
        tokenizer: of the model.
        request: what was asked for: one row.
        generation: what was written.

    Raises:
        OptionError: where the request had several rows.
    """
    if len(request.prompts) != 1:
        raise OptionError("only a single text can be gone on from; ask for one prompt and one text")
    before = request.continuation
    prompt = tokenizer.encode(generation.prompt, request.on_unknown)
    ids = np.concatenate([prompt, np.array(generation.ids, np.int32)]).astype(np.int32)
    state = before.state if before else runtime.initial_state(1)
    read = np.concatenate([[before.last_id], ids[:-1]] if before else [ids[:-1]]).astype(np.int32)
    if len(read):
        state = runtime.prefill(read[None, :], state)
    drawn = len(generation.ids) - int(not before and not generation.prompt)
    return Continuation(
        state.copy(),
        last_id=int(ids[-1]),
        step=(before.step if before else 0) + drawn,
        seen=tuple(sorted({*ids.tolist(), *(before.seen if before else ())})),
        seed=generation.seed,
        row=generation.row,
    )


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
