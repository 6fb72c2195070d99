"""Generation: prompts in, text out, in chunks that change nothing.

Prompts of any lengths are read at once, right-padded; then a runtime writes chunks of ids, and rows that have ended
drop out of the batch. What a row writes depends on its prompt, the seed and its own seed; not on its neighbours, on the
chunk size, or on whether the text is streamed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from textgen.generation.chain import Chain
from textgen.generation.continuation import Continuation
from textgen.options import Options
from textgen.text.tokenizer import OnUnknown

FinishReason = Literal["length", "eos", "stop"]


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
