"""The held-out part of a text, by which a run is judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textgen.model.fitting import TrainingOptions
from textgen.text.corpus import Layout
from textgen.text.encoded import EncodedText, draw_documents


@dataclass(frozen=True, kw_only=True)
class Split:
    """A text cut in two.

    Attributes:
        training: the part to train on.
        held_out: the part to judge by; empty if nothing is held out.
        documents: ``[held out]``, the numbers of the held-out documents in ascending order; ``None`` for a stream.
    """

    training: EncodedText
    held_out: EncodedText
    documents: NDArray[np.intp] | None


def split(
    text: EncodedText, layout: Layout, options: TrainingOptions, documents: NDArray[np.intp] | None = None
) -> Split:
    """Holds out the share ``held_out`` of a text: the tail of a stream, or documents drawn by the seed.

    Args:
        text: the whole text.
        layout: the layout of its corpus.
        options: ``held_out`` and ``seed`` decide.
        documents: the numbers of the documents to hold out instead.
    """
    if layout == "stream":
        training, held_out = text.split_tail(options.held_out)
        return Split(training=training, held_out=held_out, documents=None)
    if documents is None:
        documents = held_out_documents(len(text), options)
    training, held_out = text.hold_out(documents)
    return Split(training=training, held_out=held_out, documents=np.sort(documents))


def held_out_documents(count: int, options: TrainingOptions) -> NDArray[np.intp]:
    """Draws the documents to hold out, of ``count``; returns their numbers in ascending order."""
    return draw_documents(count, options.held_out, options.seed)
