"""Generation: prompts in, text out, in chunks that change nothing.

Prompts of any lengths are read at once, right-padded; then a runtime writes chunks of ids, and rows that have ended
drop out of the batch. What a row writes depends on its prompt, the seed and its own seed; not on its neighbours, on the
chunk size, or on whether the text is streamed.
"""

from __future__ import annotations

from collections.abc import Generator
from time import perf_counter

import numpy as np

from textgen.errors import OptionError
from textgen.generation.continuation import Continuation
from textgen.generation.draw import Draw
from textgen.generation.probability import score_rows
from textgen.generation.prompts import pad_rows, read_first
from textgen.generation.randomness import uniforms
from textgen.generation.request import Generation, Piece, Request
from textgen.generation.row import Row
from textgen.generation.runtime import Runtime
from textgen.text.boundaries import Boundaries
from textgen.text.tokenizer import Tokenizer

#: Steps between two looks at what was written, at first.
CHUNK = 64

#: On a CPU they double as long as they take less than half of these seconds.
LOOK_EVERY = 0.05

#: The same where a text may end at any step: what is written past an end is thrown away.
CHUNK_TO_END = 16


def generate(
    runtime: Runtime, tokenizer: Tokenizer, boundaries: Boundaries, request: Request
) -> Generator[Piece, None, list[Generation]]:
    """Write text; yields pieces as they are certain, returns the whole.

    Args:
        runtime: a loaded model.
        tokenizer: fitted.
        boundaries: how the model's texts begin and end.
        request: what is asked for.

    Raises:
        UnknownCharacterError: for a prompt, before anything is written.
        OptionError: where ``rows`` or ``chains`` do not go with the prompts, or nothing of a prompt is known.
    """
    batch = len(request.prompts)
    seeds = request.rows or tuple(range(batch))
    if not batch == len(seeds) == len(request.chains):
        raise OptionError(f"{batch} prompts, {len(seeds)} rows and {len(request.chains)} chains do not go together")
    before = request.continuation
    if before and batch != 1:
        raise OptionError("only a single text can be gone on from")
    prompts = [read_first(tokenizer, boundaries, request, *row) for row in zip(request.prompts, seeds, strict=True)]
    end_id = None if request.ignore_eos else boundaries.end_id
    rows = [
        Row(tokenizer, request.stop, end_id, drawn=() if prompt or before else ids)
        for prompt, ids in zip(request.prompts, prompts, strict=True)
    ]
    draw = Draw(request.chains, runtime.vocab_size, tokenizer.forbidden_ids)
    for index, ids in enumerate(prompts):
        draw.note(np.full(len(ids), index), ids)
    if before:
        draw.note(np.zeros(len(before.seen), np.intp), np.array(before.seen, np.int32))

    last = np.array([ids[-1] for ids in prompts], np.int32)
    read, lengths = pad_rows([ids[:-1] for ids in prompts])
    first = before.state if before else runtime.initial_state(batch)
    state = runtime.prefill(read, first, lengths) if read.size else first
    active = np.arange(batch)
    done = 0
    # Step 0 of a row's randomness is kept for its first character.
    used = 1 + (before.step if before else 0)
    is_endless = end_id is None and not request.stop
    chunk = request.chunk or (CHUNK if is_endless else CHUNK_TO_END)
    grows = request.chunk is None and is_endless and runtime.device == "cpu"
    while done < request.length and len(active):
        steps = min(chunk, request.length - done)
        began = perf_counter()
        drawn = uniforms(request.seed, [seeds[i] for i in active], used + done, steps)
        block = runtime.generate(last, state, draw, drawn)
        done += steps
        if grows and perf_counter() - began < LOOK_EVERY / 2:
            chunk *= 2
        for row_index, column in zip(active.tolist(), block.ids.T, strict=True):
            if text := rows[row_index].extend(column):
                yield Piece(row_index, text)
        going = np.flatnonzero([rows[i].finish_reason is None for i in active])
        last, state = block.ids[-1], block.state
        if len(going) < len(active):
            last, state, active = last[going], state.select(going), active[going]
            draw.keep(going)

    for index, row in enumerate(rows):
        if text := row.close():
            yield Piece(index, text)
    scores = score_rows(runtime, prompts, rows, first) if request.score else [None] * batch
    return [
        Generation(
            prompt, row.text, tuple(row.ids), request.seed, seed, str(chain), row.finish_reason or "length", score
        )
        for prompt, row, seed, chain, score in zip(request.prompts, rows, seeds, request.chains, scores, strict=True)
    ]


def finish(pieces: Generator[Piece, None, list[Generation]]) -> list[Generation]:
    """Let :func:`generate` write to the end; return the whole, the pieces are dropped."""
    while True:
        try:
            next(pieces)
        except StopIteration as stop:
            return list(stop.value)


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
