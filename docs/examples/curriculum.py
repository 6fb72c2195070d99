"""A curriculum: short sequences first, then long ones.

A plugin in one file; the length depends on nothing but how far training has come, so a resumed run goes on with it::

    textgen train --corpus dinos-lite --plugin docs/examples/curriculum.py
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from textgen import hookimpl

if TYPE_CHECKING:
    from textgen import Batch, Position

#: Characters of a row in the first batches, and batches after which there are twice as many.
SHORTEST, DOUBLED_AFTER = 5, 50


@hookimpl
def textgen_transform_batch(batch: Batch, position: Position) -> Batch | None:
    """Leave of each row its beginning, until rows are whole."""
    length = SHORTEST << min(position.total // DOUBLED_AFTER, 20)
    if length >= batch.inputs.shape[1]:
        return None
    return replace(
        batch,
        inputs=batch.inputs[:, :length],
        targets=batch.targets[:, :length],
        weights=batch.weights[:, :length],
    )
