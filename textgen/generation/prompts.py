"""Generation: prompts in, text out, in chunks that change nothing.

Prompts of any lengths are read at once, right-padded; then a runtime writes chunks of ids, and rows that have ended
drop out of the batch. What a row writes depends on its prompt, the seed and its own seed; not on its neighbours, on the
chunk size, or on whether the text is streamed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textgen.errors import OptionError
from textgen.generation.randomness import uniforms
from textgen.generation.request import Request
from textgen.generation.runtime import Ids
from textgen.text.boundaries import Boundaries
from textgen.text.tokenizer import OnUnknown, Tokenizer


def encode_prompt(tokenizer: Tokenizer, prompt: str, on_unknown: OnUnknown | None = None) -> Ids:
    """The ids of a prompt, ``[n]`` int32; none for the empty one.

    Raises:
        UnknownCharacterError: under ``"error"``.
        OptionError: where nothing is left of it under ``"skip"``.
    """
    ids = tokenizer.encode(prompt, on_unknown)
    if prompt and not len(ids):
        raise OptionError(f"nothing of the prompt {prompt!r} is in the vocabulary")
    return ids


def read_first(tokenizer: Tokenizer, boundaries: Boundaries, request: Request, prompt: str, row: int) -> Ids:
    """What a row reads before it writes: its prompt, after the last id of what it goes on from, or a drawn start."""
    ids = encode_prompt(tokenizer, prompt, request.on_unknown)
    if request.continuation:
        return np.concatenate([[request.continuation.last_id], ids]).astype(np.int32)
    return ids if prompt else _draw_start(tokenizer, boundaries, request.seed, row)


def _draw_start(tokenizer: Tokenizer, boundaries: Boundaries, seed: int, row: int) -> Ids:
    """The first character of a row without a prompt, by the frequencies of the training text."""
    if not boundaries.starts:
        raise OptionError("this model does not know how texts begin; give a prompt")
    cumulative = np.cumsum(list(boundaries.starts.values()))
    uniform = float(uniforms(seed, [row], 0, 1)[0, 0])
    drawn = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    return tokenizer.encode(list(boundaries.starts)[drawn])


def pad_rows(rows: Sequence[Ids]) -> tuple[Ids, Ids]:
    """Rows of any lengths, padded on the right with id 0: ``[batch, time]``, and their lengths ``[batch]``."""
    lengths = np.array([len(ids) for ids in rows], np.int32)
    padded = np.zeros((len(rows), lengths.max(initial=0)), np.int32)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return padded, lengths
