"""The layout of a text: the part that is held out, by which a run is judged, and the batches of both parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textgen.errors import CorpusError, OptionError
from textgen.model.fitting import TrainingOptions
from textgen.text.batches import BatchPlan, Dataset, Lanes, PackedDocuments, PaddedDocuments, Windows
from textgen.text.corpus import Layout
from textgen.text.encoded import EncodedText, draw_documents
from textgen.training.text import Text

#: The shares that a text is advised to hold out if a smaller one is too short.
LARGER_SHARES = (0.2, 0.3, 0.4, 0.5)


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


def arrange_batches(text: Text, options: TrainingOptions, held_out: NDArray[np.intp] | None = None) -> Dataset:
    """Arranges the training and the held-out part of a text in batches.

    Args:
        text: the whole text.
        options: how.
        held_out: the numbers of the documents to hold out; by default as ``options`` say.

    Raises:
        OptionError: if the layout does not suit the corpus.
        CorpusError: if a part is too short for one batch.
    """
    layout = options.layout
    if layout == "auto":
        layout = "lanes" if text.layout == "stream" else "documents"
    if layout in ("documents", "packed") and text.layout == "stream":
        raise OptionError(f"training.layout={layout} needs a corpus of documents; a stream takes windows or lanes")
    parts = split(text.encoded, text.layout, options, held_out)
    if layout != "documents" and len(parts.training.ids) <= options.length:
        raise CorpusError(
            f"the corpus has {len(parts.training.ids)} tokens to train on{text.describe_duplicates()}, a window of "
            f"training.length={options.length} needs {options.length + 1}: "
            + _ways_out(text, options, held_out, len(parts.training.ids))
        )

    def arrange(part: EncodedText, *, learning: bool) -> BatchPlan:
        drop = options.drop_remainder and learning
        shuffle = options.shuffle and learning
        if layout == "windows":
            return Windows(
                part,
                length=options.length,
                batch_size=options.batch_size,
                seed=options.seed,
                shuffle=shuffle,
                drop_remainder=drop,
            )
        rows = max(1, min(options.batch_size, len(part.ids) // options.length))
        if layout == "lanes":
            return Lanes(part, length=options.length, batch_size=rows)
        if layout == "packed" and learning:
            return PackedDocuments(part, length=options.length, batch_size=rows, seed=options.seed, shuffle=shuffle)
        pad_id = text.tokenizer.pad_id if text.tokenizer.pad_id is not None else text.end_id
        assert pad_id is not None  # documents have an end
        return PaddedDocuments(
            part.split_long(text.usual_longest),
            batch_size=options.batch_size,
            pad_id=pad_id,
            seed=options.seed,
            shuffle=shuffle,
            drop_remainder=drop,
            pad_to=min(int(text.encoded.lengths().max()), text.usual_longest) if options.pad == "longest" else None,
            masked=options.mask_padding,
            bucket=options.bucket,
            resets_state=layout == "packed",
        )

    carries = options.carry_state if options.carry_state is not None else layout in ("lanes", "packed")
    is_judged = options.held_out > 0 or held_out is not None
    judged = arrange(parts.held_out, learning=False) if is_judged else None
    if judged is not None and judged.steps == 0:
        raise CorpusError(
            f"the held-out share of the corpus is shorter than one example{text.describe_duplicates()}: "
            + _ways_to_hold_out(text, options)
        )
    dataset = Dataset(
        arrange(parts.training, learning=True),
        judged,
        carries,
        characters_per_target=parts.training.characters_per_target(text.characters_per_id),
        held_out_characters_per_target=parts.held_out.characters_per_target(text.characters_per_id),
        marks=tuple(i for i in (*text.tokenizer.forbidden_ids, text.end_id) if i is not None),
    )
    dataset.check()
    return dataset


def _ways_to_hold_out(text: Text, options: TrainingOptions) -> str:
    """What to do about a held-out part that is shorter than one example; each way works."""
    is_stream = text.layout == "stream"
    count, least = (len(text.encoded.ids), options.length + 1) if is_stream else (len(text.encoded), 1)
    larger = [share for share in LARGER_SHARES if least <= round(count * share) <= count - least]
    return " or ".join(["use more text", *(f"--set training.held_out={share}" for share in [*larger[:1], 0])])


def _ways_out(text: Text, options: TrainingOptions, held_out: NDArray[np.intp] | None, tokens: int) -> str:
    """What to do about a text that is shorter than a window, of so many tokens to train on; each way works."""
    ways = ["use more text"]
    length = tokens // 4
    while length:
        try:
            arrange_batches(text, options.model_copy(update={"length": length}), held_out)
        except CorpusError:
            length //= 2
        else:
            ways.append(f"--set training.length={length}")
            break
    lines = [line for line in text.facts.head.split("\n") if line.strip()]
    is_stream = text.corpus_name == "file" and text.layout == "stream" and options.layout == "auto"
    if is_stream and len(lines) > 1 and (not options.held_out or len(held_out_documents(len(lines), options))):
        ways.append("if each of its lines is a text of its own, --set corpus.layout=lines")
    return ", or ".join(ways)
