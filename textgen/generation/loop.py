"""Generation: prompts in, text out, in chunks that change nothing.

Prompts of any lengths are read at once, right-padded; then a runtime writes chunks of ids, and rows that have ended
drop out of the batch. What a row writes depends on its prompt, the seed and its own seed; not on its neighbours, on the
chunk size, or on whether the text is streamed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from textgen.errors import OptionError
from textgen.generation.chain import Chain, Draw, uniforms
from textgen.generation.runtime import Ids, Runtime
from textgen.model.state import State
from textgen.options import Options
from textgen.text.tokenizer import OnUnknown, Tokenizer

FinishReason = Literal["length", "eos", "stop"]

#: Steps between two looks at what was written, at first.
CHUNK = 64

#: On a CPU they double as long as they take less than half of these seconds.
LOOK_EVERY = 0.05

#: The same where a text may end at any step: what is written past an end is thrown away.
CHUNK_TO_END = 16

#: Positions whose log-probabilities are computed at once.
SCORED_AT_ONCE = 256


class GenerationOptions(Options):
    """How a run generates where nothing else is asked for."""

    prompt: str | None = Field(None, description="Text to go on from; without one, a first character is drawn.")
    length: int | None = Field(
        None,
        ge=1,
        description="Characters to write; by default 400, and twice the longest document where there are some.",
    )
    sampler: str = Field("temperature(0.8) | multinomial", description="The sampler chain.")
    stop: tuple[str, ...] = Field((), description="Texts that end a generation; they are not part of it.")


@dataclass(frozen=True)
class Ending:
    """How a model's texts begin and end.

    Attributes:
        end_id: the id that ends a document, or ``None`` for a stream.
        starts: how often the training text begins with each character: its documents, or the lines of a stream.
    """

    end_id: int | None
    starts: Mapping[str, int] = field(default_factory=dict)


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


@dataclass(frozen=True)
class Request:
    """What is asked for: one row a prompt.

    Attributes:
        prompts: one a row; an empty one draws a first character.
        length: ids to write a row, at most; a first character drawn for an empty prompt comes on top.
        chains: one a row; all with the same names in the same order.
        seed: of the generation.
        rows: each row's own seed.
        stop: texts that end a row.
        ignore_eos: go on after the end of a document.
        on_unknown: what to do with characters of a prompt that the vocabulary lacks; the tokenizer's own way if
            ``None``.
        score: whether to compute log-probabilities.
        chunk: steps between two looks at what was written; ``None`` for a good one.
        continuation: where to go on from, for a single row; its prompt is then read after what was written before.
    """

    prompts: tuple[str, ...]
    length: int
    chains: tuple[Chain, ...]
    seed: int = 0
    rows: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False
    on_unknown: OnUnknown | None = None
    score: bool = False
    chunk: int | None = None
    continuation: Continuation | None = None


@dataclass(frozen=True)
class Generation:
    """One row's text.

    Attributes:
        prompt: what it goes on from.
        text: what was written, without prompt, end of document and stop text.
        ids: every id that was drawn, those of an end or stop text included.
        seed: of the generation.
        row: the row's own seed.
        sampler: the chain that drew.
        finish_reason: ``"eos"`` (end of a document), ``"stop"`` (a stop text) or ``"length"``.
        log_probability: the sum over ``ids`` of the model's log-probability (nats, temperature 1) given what is before
            each; a first character drawn for an empty prompt does not count. ``None`` unless asked for.
    """

    prompt: str
    text: str
    ids: tuple[int, ...]
    seed: int
    row: int
    sampler: str
    finish_reason: FinishReason
    log_probability: float | None = None


@dataclass(frozen=True)
class Piece:
    """Some text of a row, as it comes."""

    index: int
    text: str


def generate(
    runtime: Runtime, tokenizer: Tokenizer, ending: Ending, request: Request
) -> Generator[Piece, None, list[Generation]]:
    """Write text; yields pieces as they are certain, returns the whole.

    Args:
        runtime: a loaded model.
        tokenizer: fitted.
        ending: how the model's texts begin and end.
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
    prompts = [_read_first(tokenizer, ending, request, *row) for row in zip(request.prompts, seeds, strict=True)]
    end_id = None if request.ignore_eos else ending.end_id
    rows = [
        _Row(tokenizer, request.stop, end_id, drawn=() if prompt or before else ids)
        for prompt, ids in zip(request.prompts, prompts, strict=True)
    ]
    draw = Draw(request.chains, runtime.vocab_size, tokenizer.forbidden_ids)
    for index, ids in enumerate(prompts):
        draw.note(np.full(len(ids), index), ids)
    if before:
        draw.note(np.zeros(len(before.seen), np.intp), np.array(before.seen, np.int32))

    last = np.array([ids[-1] for ids in prompts], np.int32)
    read, lengths = _padded([ids[:-1] for ids in prompts])
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
    scores = _score(runtime, prompts, rows, first) if request.score else [None] * batch
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


def _read_first(tokenizer: Tokenizer, ending: Ending, request: Request, prompt: str, row: int) -> Ids:
    """What a row reads before it writes: its prompt, after the last id of what it goes on from, or a drawn start."""
    ids = encode_prompt(tokenizer, prompt, request.on_unknown)
    if request.continuation:
        return np.concatenate([[request.continuation.last_id], ids]).astype(np.int32)
    return ids if prompt else _draw_start(tokenizer, ending, request.seed, row)


def _draw_start(tokenizer: Tokenizer, ending: Ending, seed: int, row: int) -> Ids:
    """The first character of a row without a prompt, by the frequencies of the training text."""
    if not ending.starts:
        raise OptionError("this model does not know how texts begin; give a prompt")
    cumulative = np.cumsum(list(ending.starts.values()))
    uniform = float(uniforms(seed, [row], 0, 1)[0, 0])
    drawn = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    return tokenizer.encode(list(ending.starts)[drawn])


def _padded(rows: Sequence[Ids]) -> tuple[Ids, Ids]:
    """Rows of any lengths, padded on the right with id 0: ``[batch, time]``, and their lengths ``[batch]``."""
    lengths = np.array([len(ids) for ids in rows], np.int32)
    padded = np.zeros((len(rows), lengths.max(initial=0)), np.int32)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return padded, lengths


def _score(runtime: Runtime, prompts: Sequence[Ids], rows: Sequence[_Row], state: State) -> list[float]:
    """The log-probability of each row's ids, by reading prompt and ids once more."""
    texts = [
        np.concatenate([ids, np.array(row.ids[row.drawn :], np.int32)]) for ids, row in zip(prompts, rows, strict=True)
    ]
    inputs, lengths = _padded([text[:-1] for text in texts])
    targets, _ = _padded([text[1:] for text in texts])
    total = np.zeros(len(rows))
    written_from = np.array([len(ids) - 1 for ids in prompts])[:, None]
    for at in range(0, inputs.shape[1], SCORED_AT_ONCE):
        part = slice(at, at + SCORED_AT_ONCE)
        logits, state = runtime.forward(inputs[:, part], state, np.clip(lengths - at, 0, inputs[:, part].shape[1]))
        positions = at + np.arange(logits.shape[1])
        counts = (positions >= written_from) & (positions < lengths[:, None])
        chosen = np.take_along_axis(log_softmax(logits), targets[:, part, None], axis=2)[:, :, 0]
        total += np.where(counts, chosen, 0).sum(axis=1)
    return [float(value) for value in total]


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities (nats) over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


class _Row:
    """The text of a row under way."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str], end_id: int | None, drawn: Iterable[int]) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(text for text in stop if text)
        self._end_id = end_id
        self._told = 0
        self._searched = 0
        self.ids: list[int] = [int(i) for i in drawn]
        self.drawn = len(self.ids)
        self.text = tokenizer.decode(self.ids)
        self.finish_reason: FinishReason | None = None

    def extend(self, ids: NDArray[np.int32]) -> str:
        """Take drawn ids, up to an end; return the text that is certain by now and was not told yet."""
        new = [int(i) for i in ids]
        if self._end_id in new:
            new = new[: new.index(self._end_id) + 1]
            self.finish_reason = "eos"
        self.ids += new
        self.text += self._tokenizer.decode(new[:-1] if self.finish_reason == "eos" else new)
        self._cut_at_stop()
        return self._tell(len(self.text) if self.finish_reason else len(self.text) - self._held_back())

    def close(self) -> str:
        """End the row; return the text that was held back."""
        return self._tell(len(self.text))

    def _tell(self, end: int) -> str:
        piece, self._told = self.text[self._told : end], max(end, self._told)
        return piece

    def _cut_at_stop(self) -> None:
        hits = []
        for stop in self._stop:
            at = self.text.find(stop, max(0, self._searched - len(stop) + 1))
            if at >= 0:
                hits.append((at + len(stop), at))
        if hits:
            end, at = min(hits)
            self.finish_reason = "stop"
            kept = bisect_left(range(len(self.ids)), end, key=lambda n: len(self._tokenizer.decode(self.ids[:n])))
            self.ids = self.ids[:kept]
            self.text = self.text[:at]
        self._searched = len(self.text)

    def _held_back(self) -> int:
        """The length of the longest end of the text that may yet become a stop text."""
        longest = max((len(stop) for stop in self._stop), default=1) - 1
        for size in range(min(longest, len(self.text)), 0, -1):
            if any(stop.startswith(self.text[-size:]) for stop in self._stop):
                return size
        return 0
