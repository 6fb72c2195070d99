"""From settings to everything a training run needs: corpus → tokenizer → dataset → model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from textgen.errors import CorpusError, OptionError
from textgen.model.fitting import TrainingOptions
from textgen.text.batches import BatchPlan, Dataset, Lanes, PackedDocuments, PaddedDocuments, Windows
from textgen.text.boundaries import Boundaries
from textgen.text.corpus import Layout
from textgen.text.encoded import EncodedText
from textgen.text.tokenizer import Tokenizer


def arrange_batches(
    corpus_layout: Layout,
    text: EncodedText,
    tokenizer: Tokenizer,
    boundaries: Boundaries,
    options: TrainingOptions,
    chosen: NDArray[np.intp] | None,
) -> Dataset:
    """Cut off the held-out text and arrange both parts in batches."""
    layout = options.layout
    if layout == "auto":
        layout = "lanes" if corpus_layout == "stream" else "documents"
    if layout in ("documents", "packed") and corpus_layout == "stream":
        raise OptionError(f"training.layout={layout} needs a corpus of documents; a stream takes windows or lanes")
    if corpus_layout == "stream":
        train, held_out = text.split_tail(options.held_out)
    else:
        train, held_out = (
            text.split_documents(options.held_out, options.seed) if chosen is None else text.hold_out(chosen)
        )
    if layout != "documents" and len(train.ids) <= options.length:
        raise CorpusError(
            f"the corpus has {len(train.ids)} characters to train on, a window of training.length={options.length} "
            f"needs {options.length + 1}: use more text, or a smaller training.length"
        )

    def arrange(part: EncodedText, *, learning: bool) -> BatchPlan:
        drop = options.drop_remainder and learning
        shuffle = options.shuffle and learning
        if layout == "windows":
            return Windows(
                part, options.length, options.batch_size, seed=options.seed, shuffle=shuffle, drop_remainder=drop
            )
        rows = max(1, min(options.batch_size, len(part.ids) // options.length))
        if layout == "lanes":
            return Lanes(part, options.length, rows)
        if layout == "packed" and learning:
            return PackedDocuments(part, options.length, rows, seed=options.seed, shuffle=shuffle)
        pad_id = tokenizer.pad_id if tokenizer.pad_id is not None else boundaries.end_id
        assert pad_id is not None  # documents have an end
        longest = int(text.lengths().max()) if options.pad == "longest" else None
        return PaddedDocuments(
            part,
            options.batch_size,
            pad_id=pad_id,
            seed=options.seed,
            shuffle=shuffle,
            drop_remainder=drop,
            pad_to=longest,
            masked=options.mask_padding,
            bucket=options.bucket,
            resets_state=layout == "packed",
        )

    carries = options.carry_state if options.carry_state is not None else layout in ("lanes", "packed")
    judges = options.held_out > 0 or chosen is not None
    judged = arrange(held_out, learning=False) if judges else None
    if judged is not None and judged.steps == 0:
        raise CorpusError(
            "the held-out share of the corpus is shorter than one example: use more text, a larger training.held_out, "
            "or training.held_out=0"
        )
    dataset = Dataset(arrange(train, learning=True), judged, carries)
    dataset.check()
    return dataset
