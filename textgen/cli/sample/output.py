"""Texts on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textgen.base.streams import results

if TYPE_CHECKING:
    from textgen.generation.request import Request
    from textgen.text_generator import TextGenerator


class Output:
    """Texts on stdout: each block under its heading; an empty line between blocks, and between texts of several lines.

    Args:
        generator: that writes them.
        request: for them.
        headings: one per block, empty for none.
    """

    def __init__(self, generator: TextGenerator, request: Request, headings: Sequence[str]) -> None:
        from textgen.text.vocabulary import spans_lines

        end_id = None if request.ignore_eos else generator.boundaries.end_id
        self._prompts = request.prompts
        self._headings = headings
        multiline = generator.artifact.manifest.provenance.get("multiline")
        self._spans_lines = len(self._prompts) > 1 and spans_lines(
            generator.tokenizer, end_id, self._prompts, multiline=multiline
        )
        self._begun = 0

    def begin(self) -> None:
        """End the text before, and begin the next one with its prompt."""
        block, row = divmod(self._begun, len(self._prompts) // len(self._headings))
        gap = "\n" * (2 if self._spans_lines or not row else 1) if self._begun else ""
        heading = f"--- {self._headings[block]}\n" if self._headings[block] and not row else ""
        results().write(gap + heading + self._prompts[self._begun])
        self._begun += 1

    def begin_until(self, index: int) -> None:
        """Begin the texts up to that of an index; a text may turn out to be empty."""
        while self._begun <= index:
            self.begin()

    def write(self, text: str) -> None:
        """Continue the text that has begun."""
        results().write(text)

    def end(self) -> None:
        """Begin the texts that are left, and end the last one."""
        self.begin_until(len(self._prompts) - 1)
        results().write("\n")
