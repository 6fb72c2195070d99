"""A curriculum: short sequences first, then long ones.

A plugin in one file. The length depends only on the training progress, so it carries over to a resumed run::

    textgen train --corpus dinos-lite --plugin docs/examples/curriculum.py
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from textgen import hookimpl

if TYPE_CHECKING:
    from textgen import Batch, Position

#: Characters per row in the first batches, and the number of batches after which that doubles.
SHORTEST, DOUBLED_AFTER = 5, 50


@hookimpl
def textgen_transform_batch(batch: Batch, position: Position) -> Batch | None:
    """Truncates each row, until rows are as long as in the batch."""
    length = SHORTEST << min(position.total // DOUBLED_AFTER, 20)
    if length >= batch.inputs.shape[1]:
        return None
    return replace(
        batch,
        inputs=batch.inputs[:, :length],
        targets=batch.targets[:, :length],
        weights=batch.weights[:, :length],
    )
