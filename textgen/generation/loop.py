"""The generation loop: prompts in, text out.

Prompts of any lengths are read at once, right-padded. Then a runtime writes chunks of ids, and rows that have ended
leave the batch. The text of a row depends on its prompt, its chain, the seed and the row's seed; not on the other rows,
on the size of the chunks, or on whether the text is streamed.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from math import ceil
from time import perf_counter

import numpy as np

from textgen.errors import OptionError
from textgen.generation.continuation import Continuation
from textgen.generation.draw import Draw, uniforms
from textgen.generation.probability import score_rows
from textgen.generation.prompts import ReadPrompt, first_ids, pad_rows, read_prompt
from textgen.generation.request import Generation, Piece, Request
from textgen.generation.row import Row
from textgen.generation.runtime import Block, Ids, Runtime
from textgen.generation.stop_texts import StopTexts
from textgen.model.state import State
from textgen.text.boundaries import Boundaries
from textgen.text.labels import label_of
from textgen.text.tokenizer import Tokenizer
from textgen.text.vocabulary import Unknown

#: Steps per chunk if the runtime has no preference: of text that runs to its full length; of text that may end at any
#: step, after which the rest of a chunk is wasted; and at first of text that is read while it is written.
STEPS, STEPS_TO_END, STEPS_STREAMED = 64, 16, 8

#: Rows are written side by side while the logits of a step are at most this many numbers (4 MB; drawing copies them
#: several times), but at least this many rows.
LOGITS_AT_ONCE, LEAST_ROWS_AT_ONCE = 2**20, 64

#: The most ids that a character takes: bytes of UTF-8. A row that writes ids without text ends all the same.
MOST_IDS_PER_CHARACTER = 4

#: Chunks of text that runs to its full length double as long as they take less than half of these seconds, in which a
#: reader notices no delay.
LOOK_EVERY = 0.05

#: Numbers may overflow and underflow, whatever the process has set with ``numpy.seterr``.
_QUIET = partial(np.errstate, all="ignore")


def generate(
    runtime: Runtime, tokenizer: Tokenizer, boundaries: Boundaries, request: Request
) -> Generator[Piece, None, list[Generation]]:
    """Write text: yields pieces that can no longer change, returns one generation per row.

    Args:
        runtime: a loaded model.
        tokenizer: fitted.
        boundaries: how the model's texts begin and end.
        request: the texts to write.

    Raises:
        UnknownCharacterError: if a prompt has an unknown character; before anything is written.
        OptionError: if the numbers of prompts, labels, row seeds and chains differ, no character of a prompt is known,
            or there is no such label.
    """
    _check_counts(request)
    read = {prompt: read_prompt(tokenizer, prompt, request.on_unknown) for prompt in dict.fromkeys(request.prompts)}
    rows = _make_rows(tokenizer, boundaries, request, read)
    forbidden, endless = boundaries.forbidden_ids(tokenizer), _end_id(boundaries, request) is None and not request.stop
    at_once = 1 if request.stream else max(LEAST_ROWS_AT_ONCE, LOGITS_AT_ONCE // runtime.vocab_size)
    for first in range(0, len(rows), at_once):
        yield from _write(runtime, forbidden, request, rows[first : first + at_once], endless=endless)
    scores: Sequence[float | None] = [None] * len(rows)
    if request.score:
        with _QUIET():
            scores = score_rows(runtime, [row.prompt_ids for row in rows], rows, _start(runtime, request, len(rows)))
    return [
        _generation(
            request,
            row,
            score=score,
            label=label_of(tokenizer, _ids_with_label(request, row)),
            unknown=read[request.prompts[row.index]].unknown,
        )
        for row, score in zip(rows, scores, strict=True)
    ]


def finish(pieces: Generator[Piece, None, list[Generation]]) -> list[Generation]:
    """Run :func:`generate` to its end, and return the generations."""
    while True:
        try:
            next(pieces)
        except StopIteration as stop:
            return list(stop.value)


def _check_counts(request: Request) -> None:
    """Check that there is one of everything per row."""
    prompts, chains = len(request.prompts), len(request.chains)
    seeds, labels = len(_row_seeds(request)), len(request.labels)
    if not prompts == seeds == chains:
        raise OptionError(
            f"there are {prompts} prompts, {seeds} row seeds and {chains} chains; there must be as many of each"
        )
    if labels and labels != prompts:
        raise OptionError(f"there are {prompts} prompts and {labels} labels; there must be as many of each")
    if request.continuation and prompts != 1:
        raise OptionError("only one text at a time can be continued")


def _row_seeds(request: Request) -> Sequence[int]:
    return request.row_seeds or range(len(request.prompts))


def _end_id(boundaries: Boundaries, request: Request) -> int | None:
    """The id that ends a row, or ``None``."""
    return None if request.ignore_eos else boundaries.end_id


def _make_rows(
    tokenizer: Tokenizer, boundaries: Boundaries, request: Request, read: Mapping[str, ReadPrompt]
) -> list[Row]:
    """The rows before they are written, given the prompts that they begin with, by text."""
    rows, stop = [], StopTexts(request.stop)
    for index, (prompt, seed) in enumerate(zip(request.prompts, _row_seeds(request), strict=True)):
        ids = first_ids(tokenizer, boundaries, request, index, seed, read[prompt].ids)
        row = Row(
            index,
            seed,
            ids,
            tokenizer,
            length=request.length,
            stop=stop,
            end_id=_end_id(boundaries, request),
            is_drawn=not prompt and not request.continuation and label_of(tokenizer, ids[:1]) is None,
            before=request.continuation,
        )
        rows.append(row)
    return rows


def _write(
    runtime: Runtime, forbidden: Sequence[int], request: Request, rows: list[Row], *, endless: bool
) -> Generator[Piece, None, None]:
    """Write the text of some rows, side by side."""
    draw = _start_draw(runtime, forbidden, request, rows)
    last_ids, state = _prefill(runtime, rows, _start(runtime, request, len(rows)))
    # Step 0 of a row's randomness is reserved for its first id.
    first_step = 1 + (request.continuation.step if request.continuation else 0)
    chunk, may_grow = _choose_chunk(runtime, request, endless=endless)
    done, active = 0, rows
    most = request.length * MOST_IDS_PER_CHARACTER
    while True:
        if done >= most:
            for row in active:
                row.finish_reason = row.finish_reason or "length"
        if request.keep_state:
            _keep_states(active, state)
        going = np.flatnonzero([row.finish_reason is None for row in active])
        if not len(going):
            break
        if len(going) < len(active):
            last_ids, state, active = last_ids[going], state.select(going), [active[i] for i in going]
            draw.keep(going)
        steps = min(chunk, most - done, _steps_left(active))
        began = perf_counter()
        randoms = uniforms(request.seed, [row.seed for row in active], first_step + done, steps)
        with _QUIET():
            block = runtime.generate(last_ids, state, draw, randoms)
        done += steps
        if may_grow and perf_counter() - began < LOOK_EVERY / 2:
            chunk *= 2
        for row, ids in zip(active, block.ids.T, strict=True):
            if text := row.extend(ids):
                yield Piece(row.index, text)
        if request.keep_state:
            _keep_states_inside(runtime, active, block, last_ids, state)
        last_ids, state = block.ids[-1], block.state
    for row in rows:
        if text := row.close():
            yield Piece(row.index, text)


def _start(runtime: Runtime, request: Request, batch: int) -> State:
    """The state before the first id that the rows read."""
    return request.continuation.state if request.continuation else runtime.initial_state(batch)


def _start_draw(runtime: Runtime, forbidden: Sequence[int], request: Request, rows: Sequence[Row]) -> Draw:
    """The sampler chains of the rows, which have seen the prompts and what was written before them."""
    draw = Draw([request.chains[row.index] for row in rows], runtime.vocab_size, forbidden)
    for position, row in enumerate(rows):
        draw.note(position, row.prompt_ids)
    if request.continuation:
        seen = np.array(request.continuation.seen, np.int32)
        draw.note(0, seen)
    return draw


def _prefill(runtime: Runtime, rows: Sequence[Row], state: State) -> tuple[Ids, State]:
    """Read the prompts but for the last id of each: those last ids, ``[batch]`` int32, and the state before them."""
    last_ids = np.array([row.prompt_ids[-1] for row in rows], np.int32)
    ids, lengths = pad_rows([row.prompt_ids[:-1] for row in rows])
    with _QUIET():
        return last_ids, runtime.prefill(ids, state, lengths) if ids.size else state


def _choose_chunk(runtime: Runtime, request: Request, *, endless: bool) -> tuple[int, bool]:
    """The number of steps of the first chunk, and whether later ones may be longer."""
    fixed = request.chunk or runtime.preferred_steps(endless=endless, stream=request.stream)
    if fixed:
        return fixed, False
    if request.stream:
        return STEPS_STREAMED, endless
    return (STEPS, True) if endless else (STEPS_TO_END, False)


def _steps_left(active: Sequence[Row]) -> int:
    """The number of steps that finish all rows, if their ids have as many characters as so far; one each at first."""
    left = max(row.characters_left for row in active)
    written = sum(len(row.text) for row in active) or 1
    return max(1, ceil(left * (sum(len(row.ids) for row in active) or 1) / written))


def _keep_states(rows: Sequence[Row], state: State) -> None:
    """Keep the states of the rows that have ended, unless a state inside a block was kept."""
    for position, row in enumerate(rows):
        if row.finish_reason is not None and row.state is None:
            row.state = state.select([position])


def _keep_states_inside(runtime: Runtime, active: Sequence[Row], block: Block, last_ids: Ids, state: State) -> None:
    """Keep the states of the rows that ended in a block before its last step, whose own state is past their end.

    Args:
        runtime: the loaded model.
        active: the rows of the block.
        block: the ids that they drew.
        last_ids: their last ids before it, ``[batch]`` int32.
        state: before those ids.
    """
    for position, row in enumerate(active):
        if row.finish_reason is not None and len(row.new_ids) < len(block.ids):
            row.state = state.select([position])
            read = [int(last_ids[position]), *row.new_ids][:-1]
            if read:
                row.state = runtime.prefill(np.array([read], np.int32), row.state).copy()


def _ids_with_label(request: Request, row: Row) -> list[int]:
    """Ids with the label of a row, if it has one: it comes first, or somewhere in the text that the row continues."""
    return [*(request.continuation.seen if request.continuation else ()), int(row.prompt_ids[0])]


def _generation(
    request: Request, row: Row, *, score: float | None, label: str | None, unknown: tuple[Unknown, ...]
) -> Generation:
    assert row.finish_reason is not None  # it has been written
    return Generation(
        prompt=request.prompts[row.index],
        label=label,
        text=row.text,
        ids=tuple(row.ids),
        seed=request.seed,
        row=row.seed,
        sampler=str(request.chains[row.index]),
        finish_reason=row.finish_reason,
        unknown=unknown,
        log_probability=score,
        continuation=None if row.state is None else _continuation(request, row, row.state),
    )


def _continuation(request: Request, row: Row, state: State) -> Continuation:
    before = request.continuation
    seen = np.unique(np.concatenate([row.prompt_ids, np.array(row.written, np.int32)])).tolist()
    return Continuation(
        state=state,
        tail=tuple(row.tail()),
        unread=row.unread,
        step=(before.step if before else 0) + len(row.written),
        seen=tuple(sorted({*seen, *(before.seen if before else ())})),
        seed=request.seed,
        row=row.seed,
    )
