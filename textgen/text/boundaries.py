"""The boundaries of a model's texts: how they begin and how they end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from textgen.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Boundaries:
    """The beginnings and the end of a model's texts.

    Attributes:
        end_id: the id that ends a document, or ``None`` for a stream.
        starts: the number of training texts that begin with each id, by id; for a stream, the number of lines.
    """

    end_id: int | None
    starts: Mapping[int, int] = field(default_factory=dict)

    def forbidden_ids(self, tokenizer: Tokenizer) -> tuple[int, ...]:
        """The ids that must never be drawn: those of the tokenizer, and for a stream its end of a document."""
        ids = set(tokenizer.forbidden_ids)
        if self.end_id is None and tokenizer.eos_id is not None:
            ids.add(tokenizer.eos_id)
        return tuple(sorted(ids))
