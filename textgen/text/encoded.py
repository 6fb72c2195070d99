"""Encoded text arranged in batches: windows, contiguous lanes, packed documents, padded documents.

The order of the batches of an epoch depends on the seed and the epoch alone, so that training can go on from any batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from textgen.text.id_store import IdStore, StoredIds

Ids = NDArray[np.int32]

#: Ids that are copied at once.
PIECE = 1 << 20


@dataclass(frozen=True)
class EncodedText:
    """Documents as one array of ids.

    Attributes:
        ids: ``[n]`` uint8, uint16 or int32, all documents after one another, each with its end id where documents have
            one; in memory, or mapped into it from a file.
        offsets: ``[documents + 1]`` int64; document d is ``ids[offsets[d]:offsets[d + 1]]``.
    """

    ids: StoredIds
    offsets: NDArray[np.int64]

    @classmethod
    def join(cls, documents: Sequence[Ids]) -> EncodedText:
        """Lay documents end to end."""
        lengths = np.fromiter(map(len, documents), np.int64, len(documents))
        ids = np.concatenate(documents) if documents else np.empty(0, np.int32)
        return cls(ids.astype(np.int32, copy=False), _offsets(lengths))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self) -> NDArray[np.int64]:
        """Ids a document, ``[documents]``."""
        return np.diff(self.offsets)

    def select(self, documents: NDArray[np.intp]) -> EncodedText:
        """The given documents, in the given order."""
        offsets = _offsets(self.lengths()[documents])
        store = IdStore(self.ids.dtype)
        for start in range(0, int(offsets[-1]), PIECE):
            stop = min(start + PIECE, int(offsets[-1]))
            first, last = int(np.searchsorted(offsets, start, "right")) - 1, int(np.searchsorted(offsets, stop))
            shifts = self.offsets[documents[first:last]] - offsets[first:last]
            lengths = np.diff(offsets[first : last + 1].clip(start, stop))
            store.add(self.ids[np.arange(start, stop) + np.repeat(shifts, lengths)])
        return EncodedText(store.take(), offsets)

    def split_tail(self, share: float) -> tuple[EncodedText, EncodedText]:
        """Cut a stream: all but the last ``share`` of its ids, and those; nothing is copied."""
        cut = len(self.ids) - round(len(self.ids) * share)
        head, tail = self.ids[:cut], self.ids[cut:]
        return EncodedText(head, _offsets([len(head)])), EncodedText(tail, _offsets([len(tail)]))

    def split_documents(self, share: float, seed: int) -> tuple[EncodedText, EncodedText]:
        """Draw ``share`` of the documents by the seed: the others, and those, each in their order."""
        return self.hold_out(draw_documents(len(self), share, seed))

    def hold_out(self, held_out: NDArray[np.intp]) -> tuple[EncodedText, EncodedText]:
        """All documents but those of the given numbers, and those, each in their order."""
        is_held_out = np.zeros(len(self), np.bool_)
        is_held_out[held_out] = True
        return self.select(np.flatnonzero(~is_held_out)), self.select(np.flatnonzero(is_held_out))


def draw_documents(count: int, share: float, seed: int) -> NDArray[np.intp]:
    """The numbers of ``share`` of ``count`` documents, drawn by the seed, in ascending order."""
    return np.sort(_shuffled(count, seed)[: round(count * share)])


def draw_folds(count: int, folds: int, seed: int) -> list[NDArray[np.intp]]:
    """The numbers of ``count`` documents in folds as equal as can be, drawn by the seed, each in ascending order."""
    return [np.sort(fold) for fold in np.array_split(_shuffled(count, seed), folds)]


def _offsets(lengths: ArrayLike) -> NDArray[np.int64]:
    """Where parts of these lengths begin when they are laid end to end, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _shuffled(count: int, seed: int) -> NDArray[np.intp]:
    return np.random.default_rng([seed, 0x5EED]).permutation(count)
