"""The ids that a row reads before it writes: its prompt, or a drawn first id."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textgen.errors import OptionError
from textgen.generation.draw import uniforms
from textgen.generation.request import Request
from textgen.generation.runtime import Ids
from textgen.text.boundaries import Boundaries
from textgen.text.labels import label_id, label_of
from textgen.text.tokenizer import OnUnknown, Tokenizer


def encode_prompt(tokenizer: Tokenizer, prompt: str, on_unknown: OnUnknown | None = None) -> Ids:
    """The ids of a prompt, ``[n]`` int32; an empty array for the empty prompt.

    Raises:
        UnknownCharacterError: if it has an unknown character, under ``"error"``.
        OptionError: if it has unknown characters only, under ``"skip"``.
    """
    ids = tokenizer.encode(prompt, on_unknown)
    if prompt and not len(ids):
        raise OptionError(f"nothing of the prompt {prompt!r} is in the vocabulary")
    return ids


def first_ids(tokenizer: Tokenizer, boundaries: Boundaries, request: Request, index: int, row_seed: int) -> Ids:
    """The ids that a row reads before it writes, ``[n]`` int32, at least one.

    They are the ids of its prompt, after the last id of the text that it continues, if any. Where texts begin with a
    label, the label comes first: the one that is asked for, or a drawn one. Without either, they are a drawn first id.

    Raises:
        OptionError: if there is no such label, or a text that is continued is to have one.
    """
    prompt, label = request.prompts[index], request.labels[index] if request.labels else None
    ids = encode_prompt(tokenizer, prompt, request.on_unknown)
    if request.continuation:
        if label is not None:
            raise OptionError("a text that is continued has the label that it began with; leave the label out")
        return np.concatenate([[request.continuation.last_id], ids]).astype(np.int32)
    if label is not None:
        return np.concatenate([[label_id(tokenizer, label)], ids]).astype(np.int32)
    if label_of(tokenizer, boundaries.starts) is not None:
        return np.concatenate([_draw_start(boundaries, request.seed, row_seed), ids])
    return ids if prompt else _draw_start(boundaries, request.seed, row_seed)


def _draw_start(boundaries: Boundaries, seed: int, row_seed: int) -> Ids:
    """The first id of a row without a prompt, ``[1]`` int32, drawn by how often training texts begin with it."""
    if not boundaries.starts:
        raise OptionError("this model does not know how texts begin; give a prompt")
    cumulative = np.cumsum(list(boundaries.starts.values()))
    uniform = float(uniforms(seed, [row_seed], 0, 1)[0, 0])
    drawn = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    return np.array([list(boundaries.starts)[drawn]], np.int32)


def pad_rows(rows: Sequence[Ids]) -> tuple[Ids, Ids]:
    """Pad rows of any lengths on the right with id 0: ``[batch, time]`` int32, and their lengths, ``[batch]`` int32."""
    lengths = np.array([len(ids) for ids in rows], np.int32)
    padded = np.zeros((len(rows), lengths.max(initial=0)), np.int32)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return padded, lengths
