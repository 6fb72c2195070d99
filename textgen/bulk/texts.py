"""The task of a job of texts: prompts in, records out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any

from textgen.bulk.formats import Format
from textgen.bulk.source import Entry, Flaw
from textgen.bulk.work import Chunk, Generator, Task, Written
from textgen.errors import TextgenError
from textgen.generation.request import Generation

#: The columns of a text, in order; those that are kept of the input stand after the first.
COLUMNS = ("row", "prompt", "text", "finish_reason", "log_probability", "seed")


@dataclass(frozen=True, kw_only=True)
class Texts(Task):
    """Writes one text per row; the seed of the row is its number.

    Attributes:
        options: of the request, besides prompts and rows, with the seed among them.
        prompt: of rows without an entry; ``None`` for the run's own.
        format: of the records.
        names: of their columns.
        kept: the names of those that come from the input.
        match: a regular expression that is found in each text that stays, prompt and all.
        longest: the most characters of a text that stays, prompt and all.
        digests: whether digests of the texts are returned.
    """

    options: Mapping[str, Any]
    format: Format
    names: Sequence[str]
    prompt: str | None = None
    kept: Sequence[str] = ()
    match: str | None = None
    longest: int | None = None
    digests: bool = False

    def write(self, generator: Generator, chunk: Chunk) -> Written:
        rows = range(chunk.first, chunk.first + chunk.size)
        entries: dict[int, Entry] = {}
        bad: dict[int, str] = {}
        generations: Sequence[Generation]
        if chunk.entries is None:
            generations = generator.sample(generator.request(self.prompt, num=chunk.size, rows=rows, **self.options))
        else:
            entries = dict(zip(rows, chunk.entries, strict=True))
            generations, bad = self._continue(generator, entries)
        stay = generations
        if self.longest is not None or self.match is not None:
            stay = [generation for generation in generations if self._stays(generation.whole)]
        columns: dict[str, Sequence[Any]] = {name: self._column(name, stay) for name in COLUMNS if name in self.names}
        for place, name in enumerate(self.kept):
            columns[name] = [entries[generation.row][1][place] for generation in stay]
        return Written(
            first=chunk.first,
            size=chunk.size,
            rows=columns["row"],
            records=self.format.encode({name: columns[name] for name in self.names}),
            digests=[digest(generation.whole) for generation in stay] if self.digests else (),
            bad=sorted(bad.items()),
        )

    def _column(self, name: str, generations: Sequence[Generation]) -> list[Any]:
        return [getattr(generation, name) for generation in generations]

    def _stays(self, text: str) -> bool:
        if self.longest is not None and len(text) > self.longest:
            return False
        return self.match is None or re.search(self.match, text) is not None

    def _continue(
        self, generator: Generator, entries: Mapping[int, Entry]
    ) -> tuple[Sequence[Generation], dict[int, str]]:
        """The texts of the rows whose prompt can be used, and what is wrong with the other rows."""
        bad = {row: flaw for row, entry in entries.items() if (flaw := _flaw(entry)) is not None}
        while rows := [row for row in entries if row not in bad]:
            request = partial(generator.request, rows=rows, **self.options)
            try:
                return generator.sample(request([entries[row][0] for row in rows])), bad
            except TextgenError:
                faults = {prompt: self._fault(generator, prompt) for prompt in {entries[row][0] for row in rows}}
                if not any(faults.values()):
                    raise
            bad |= {row: fault for row in rows if (fault := faults[entries[row][0]]) is not None}
        return [], bad

    def _fault(self, generator: Generator, prompt: str) -> str | None:
        """What is wrong with a prompt, if anything."""
        try:
            generator.batching().prepare(generator.request(prompt, **self.options))
        except TextgenError as error:
            return str(error)
        return None


def _flaw(entry: Entry) -> str | None:
    """What is wrong with an entry, whatever the model."""
    prompt, kept = entry
    if isinstance(prompt, Flaw):
        return prompt
    if prompt is None:
        return "the prompt is null; fill it in"
    if not isinstance(prompt, str):
        return f"the prompt is not a text but of type {type(prompt).__name__}; make it one"
    for text in (prompt, *kept):
        if isinstance(text, str) and any("\ud800" <= character <= "\udfff" for character in text):
            return "a value has half of a surrogate pair; remove it"
    return None


def digest(text: str) -> bytes:
    """16 bytes for a text: among a billion texts, two share them with a probability of 1.5e-21."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
