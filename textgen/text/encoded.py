"""Encoded text: documents as one array of ids, and the draws that hold some of them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from textgen.text.id_store import IdStore, StoredIds

Ids = NDArray[np.int32]

#: Ids copied at a time.
PIECE = 1 << 20

#: A document is long if it exceeds ``LONG_FACTOR`` times the length that ``USUAL_PERCENTILE`` percent of the documents
#: do not exceed; no document of at most ``LEAST_LONG`` ids is long.
LONG_FACTOR, USUAL_PERCENTILE, LEAST_LONG = 4, 95, 200


@dataclass(frozen=True)
class EncodedText:
    """Documents as one array of ids.

    Attributes:
        ids: ``[n]`` uint8, uint16 or int32, all documents end to end, each including its end id if it has one; in
            memory, or a memory-mapped file.
        offsets: ``[documents + 1]`` int64; document d is ``ids[offsets[d]:offsets[d + 1]]``.
    """

    ids: StoredIds
    offsets: NDArray[np.int64]

    @classmethod
    def join(cls, documents: Sequence[Ids]) -> EncodedText:
        """Lays documents end to end."""
        lengths = np.fromiter(map(len, documents), np.int64, len(documents))
        ids = np.concatenate(documents) if documents else np.empty(0, np.int32)
        return cls(ids.astype(np.int32, copy=False), offsets_of(lengths))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self) -> NDArray[np.int64]:
        """The number of ids per document, ``[documents]`` int64."""
        return np.diff(self.offsets)

    def characters_per_target(self, characters_per_id: NDArray[Any]) -> float:
        """The mean number of characters that a predicted id stands for: all ids but the first of each document.

        Args:
            characters_per_id: see :attr:`textgen.Tokenizer.characters_per_id`.
        """
        if (characters_per_id == 1).all():
            return 1.0
        counts = count_ids(self.ids, len(characters_per_id))
        first = self.offsets[:-1][self.lengths() > 0]
        counts -= np.bincount(self.ids[first], minlength=len(counts))
        characters, targets = float(counts @ characters_per_id), int(counts.sum())
        return characters / targets if characters else 1.0

    def split_long(self, limit: int) -> EncodedText:
        """Cuts documents of more than ``limit`` ids into pieces of at most ``limit``."""
        lengths = self.lengths()
        if not (lengths > limit).any():
            return self
        pieces = np.maximum(-(-lengths // limit), 1)
        first = np.repeat(np.cumsum(pieces) - pieces, pieces)
        starts = np.repeat(self.offsets[:-1], pieces) + (np.arange(len(first)) - first) * limit
        return EncodedText(self.ids, np.append(starts, self.offsets[-1:]))

    def select(self, documents: NDArray[np.intp]) -> EncodedText:
        """Returns the given documents, in the given order."""
        offsets = offsets_of(self.lengths()[documents])
        store = IdStore(self.ids.dtype)
        for start in range(0, int(offsets[-1]), PIECE):
            stop = min(start + PIECE, int(offsets[-1]))
            first, last = int(np.searchsorted(offsets, start, "right")) - 1, int(np.searchsorted(offsets, stop))
            shifts = self.offsets[documents[first:last]] - offsets[first:last]
            lengths = np.diff(offsets[first : last + 1].clip(start, stop))
            store.add(self.ids[np.arange(start, stop) + np.repeat(shifts, lengths)])
        return EncodedText(store.take(), offsets)

    def split_tail(self, share: float) -> tuple[EncodedText, EncodedText]:
        """Splits a stream into its head and the last ``share`` of its ids, without copying."""
        cut = len(self.ids) - round(len(self.ids) * share)
        head, tail = self.ids[:cut], self.ids[cut:]
        return EncodedText(head, offsets_of([len(head)])), EncodedText(tail, offsets_of([len(tail)]))

    def split_documents(self, share: float, seed: int) -> tuple[EncodedText, EncodedText]:
        """Splits off ``share`` of the documents, drawn by the seed: the others, the drawn ones; both in order."""
        return self.hold_out(draw_documents(len(self), share, seed))

    def hold_out(self, held_out: NDArray[np.intp]) -> tuple[EncodedText, EncodedText]:
        """Splits off the documents of the given numbers: the others, the held-out ones; both in order."""
        is_held_out = np.zeros(len(self), np.bool_)
        is_held_out[held_out] = True
        return self.select(np.flatnonzero(~is_held_out)), self.select(np.flatnonzero(is_held_out))


def count_ids(ids: StoredIds, vocab_size: int) -> NDArray[np.int64]:
    """The number of occurrences of each id, ``[vocab_size]`` int64; ids ``[n]`` may be a memory-mapped file."""
    counts = np.zeros(vocab_size, np.int64)
    for start in range(0, len(ids), PIECE):
        counts += np.bincount(ids[start : start + PIECE], minlength=vocab_size)
    return counts


def usual_longest(lengths: NDArray[np.int64]) -> int:
    """The most that a document can have without being long, given the lengths of all documents, ``[documents]``.

    A single book among titles must not decide on the width of a batch, or the length of a sample.
    """
    return max(LEAST_LONG, LONG_FACTOR * int(np.percentile(lengths, USUAL_PERCENTILE, method="lower")))


def draw_documents(count: int, share: float, seed: int) -> NDArray[np.intp]:
    """Draws ``share`` of ``count`` documents by the seed; returns their numbers in ascending order."""
    return np.sort(_shuffled(count, seed)[: round(count * share)])


def draw_folds(count: int, folds: int, seed: int) -> list[NDArray[np.intp]]:
    """Splits ``count`` documents into folds by the seed, equal in size to within one; numbers ascend in each."""
    return [np.sort(fold) for fold in np.array_split(_shuffled(count, seed), folds)]


def offsets_of(lengths: ArrayLike) -> NDArray[np.int64]:
    """The offsets ``[parts + 1]`` int64 of parts that lie end to end, given their lengths ``[parts]``."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _shuffled(count: int, seed: int) -> NDArray[np.intp]:
    return np.random.default_rng([seed, 0x5EED]).permutation(count)
