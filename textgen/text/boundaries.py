"""Generation: prompts in, text out, in chunks that change nothing.

Prompts of any lengths are read at once, right-padded; then a runtime writes chunks of ids, and rows that have ended
drop out of the batch. What a row writes depends on its prompt, the seed and its own seed; not on its neighbours, on the
chunk size, or on whether the text is streamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Boundaries:
    """How a model's texts begin and end.

    Attributes:
        end_id: the id that ends a document, or ``None`` for a stream.
        starts: how often the training text begins with each character: its documents, or the lines of a stream.
    """

    end_id: int | None
    starts: Mapping[str, int] = field(default_factory=dict)
