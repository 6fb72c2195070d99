"""Writing the texts of one request: prompts in, text out."""

from __future__ import annotations

from collections.abc import Generator

from textgen.generation.batching import Batching
from textgen.generation.job import Failed
from textgen.generation.request import Generation, Piece, Request
from textgen.generation.runtime import Runtime
from textgen.text.boundaries import Boundaries
from textgen.text.tokenizer import Tokenizer

#: Rows are written side by side while the logits of a step are at most this many numbers (4 MB; drawing copies them
#: several times), but at least this many rows.
LOGITS_AT_ONCE, LEAST_ROWS_AT_ONCE = 2**20, 64


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
    most_rows = 1 if request.stream else max(LEAST_ROWS_AT_ONCE, LOGITS_AT_ONCE // runtime.vocab_size)
    chain = next(iter(request.chains), None)
    batching = Batching(runtime, tokenizer, boundaries, chain=chain, most_rows=most_rows, seconds=None)
    job = batching.prepare(request)
    batching.add(job)
    while not job.is_done:
        for event in batching.turn():
            if isinstance(event, Failed):
                raise event.error
            if event.text:
                yield Piece(event.index, event.text)
    return job.generations()


def finish(pieces: Generator[Piece, None, list[Generation]]) -> list[Generation]:
    """Run :func:`generate` to its end, and return the generations."""
    while True:
        try:
            next(pieces)
        except StopIteration as stop:
            return list(stop.value)
