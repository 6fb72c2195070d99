"""Encoded text arranged in batches: windows, contiguous lanes, padded documents.

The order of the batches of an epoch depends on the seed and the epoch alone, so that training can go on from any batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textgen.errors import CorpusError

Ids = NDArray[np.int32]


@dataclass(frozen=True)
class Batch:
    """Input ids and the ids that follow them.

    Attributes:
        inputs: ``[batch, time]`` int32.
        targets: ``[batch, time]`` int32; position t holds the id after ``inputs[:, t]``.
        weights: ``[batch, time]`` float32: 1 where the target counts in loss and metrics, 0 on padding.
        resets_state: whether a carried state starts anew before this batch.
    """

    inputs: Ids
    targets: Ids
    weights: NDArray[np.float32]
    resets_state: bool = True

    def lengths(self) -> Ids | None:
        """Ids up to each row's last target that counts, ``[batch]``; ``None`` where that is all of them.

        A state that is carried to the next batch must not read the padding after them.
        """
        counts = self.weights > 0
        time = counts.shape[1]
        lengths = np.where(counts.any(axis=1), time - np.argmax(counts[:, ::-1], axis=1), 0)
        return None if (lengths == time).all() else lengths.astype(np.int32)


@dataclass(frozen=True)
class EncodedText:
    """Documents as one array of ids.

    Attributes:
        ids: ``[n]`` int32, all documents after one another, each with its end id where documents have one.
        offsets: ``[documents + 1]`` int64; document d is ``ids[offsets[d]:offsets[d + 1]]``.
    """

    ids: Ids
    offsets: NDArray[np.int64]

    @classmethod
    def join(cls, documents: Sequence[Ids]) -> EncodedText:
        """Lay documents end to end."""
        lengths = np.fromiter((len(d) for d in documents), dtype=np.int64, count=len(documents))
        ids = np.concatenate(documents) if documents else np.empty(0, np.int32)
        return cls(ids.astype(np.int32, copy=False), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self) -> NDArray[np.int64]:
        """Ids a document, ``[documents]``."""
        return np.diff(self.offsets)

    def select(self, documents: NDArray[np.intp]) -> EncodedText:
        """The given documents, in the given order."""
        return EncodedText.join([self.ids[self.offsets[d] : self.offsets[d + 1]] for d in documents])

    def split_tail(self, share: float) -> tuple[EncodedText, EncodedText]:
        """Cut a stream: all but the last ``share`` of its ids, and those."""
        cut = len(self.ids) - round(len(self.ids) * share)
        return EncodedText.join([self.ids[:cut]]), EncodedText.join([self.ids[cut:]])

    def split_documents(self, share: float, seed: int) -> tuple[EncodedText, EncodedText]:
        """Draw ``share`` of the documents by the seed: the others, and those, each in their order."""
        order = np.random.default_rng([seed, 0x5EED]).permutation(len(self))
        held = round(len(self) * share)
        return self.select(np.sort(order[held:])), self.select(np.sort(order[:held]))


class BatchPlan(ABC):
    """How encoded text becomes the batches of an epoch."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """Batches an epoch."""

    @property
    @abstractmethod
    def examples(self) -> int:
        """Rows an epoch, those of the batches left out by ``drop_remainder`` included."""

    @abstractmethod
    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch (from 0), from batch number ``start`` on."""


@dataclass(frozen=True)
class Windows(BatchPlan):
    """Windows of ``length + 1`` ids cut one after the other; the first ``length`` predict the last ``length``.

    With ``drop_remainder`` the last batch is left out where it is not full. A tail shorter than a window is left out.
    """

    text: EncodedText
    length: int
    batch_size: int
    seed: int = 0
    shuffle: bool = True
    drop_remainder: bool = True

    @property
    def examples(self) -> int:
        return len(self.text.ids) // (self.length + 1)

    @property
    def steps(self) -> int:
        full, rest = divmod(self.examples, self.batch_size)
        return full if self.drop_remainder or not rest else full + 1

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        span = self.length + 1
        windows = self.text.ids[: self.examples * span].reshape(self.examples, span)
        order = _order(self.examples, self.seed, epoch, self.shuffle)
        for step in range(start, self.steps):
            rows = windows[order[step * self.batch_size : (step + 1) * self.batch_size]]
            inputs, targets = rows[:, :-1], rows[:, 1:]
            yield Batch(inputs, targets, np.ones(inputs.shape, np.float32), resets_state=step == 0)


@dataclass(frozen=True)
class Lanes(BatchPlan):
    """The text cut into ``batch_size`` contiguous lanes, read side by side, ``length`` ids a batch.

    Row r of a batch goes on where row r of the batch before it ended, so a state carried from batch to batch has seen
    the whole lane. The last batch may be shorter in time.
    """

    text: EncodedText
    length: int
    batch_size: int

    @property
    def examples(self) -> int:
        return self.steps * self.batch_size

    @property
    def _lane(self) -> int:
        return max(len(self.text.ids) - 1, 0) // self.batch_size

    @property
    def steps(self) -> int:
        return -(-self._lane // self.length)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        lane = self._lane
        inputs = self.text.ids[: lane * self.batch_size].reshape(self.batch_size, lane)
        targets = self.text.ids[1 : lane * self.batch_size + 1].reshape(self.batch_size, lane)
        for step in range(start, self.steps):
            at = slice(step * self.length, (step + 1) * self.length)
            ones = np.ones(inputs[:, at].shape, np.float32)
            yield Batch(inputs[:, at], targets[:, at], ones, resets_state=step == 0)


@dataclass(frozen=True)
class PaddedDocuments(BatchPlan):
    """A document a row, padded on the right to the longest of its batch, or to ``pad_to`` ids.

    Attributes:
        pad_id: fills rows up.
        pad_to: ids a row; ``None`` for the longest of the batch.
        masked: whether padding is left out of loss and metrics.
        bucket: whether rows of like length are put together; batches still come in random order.
    """

    text: EncodedText
    batch_size: int
    pad_id: int
    seed: int = 0
    shuffle: bool = True
    drop_remainder: bool = False
    pad_to: int | None = None
    masked: bool = True
    bucket: bool = False

    @property
    def examples(self) -> int:
        return len(self.text)

    @property
    def steps(self) -> int:
        full, rest = divmod(self.examples, self.batch_size)
        return full if self.drop_remainder or not rest else full + 1

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        lengths = self.text.lengths()
        order = _order(self.examples, self.seed, epoch, self.shuffle)[: self.steps * self.batch_size]
        starts = np.arange(self.steps) * self.batch_size
        if self.bucket:
            order = order[np.argsort(lengths[order], kind="stable")]
            if self.shuffle:
                starts = starts[_order(self.steps, self.seed, epoch, True)]
        for step in range(start, self.steps):
            rows = order[starts[step] : starts[step] + self.batch_size]
            width = self.pad_to or int(lengths[rows].max())
            columns = np.arange(width)
            inside = columns < lengths[rows, None]
            at = np.minimum(self.text.offsets[rows, None] + columns, len(self.text.ids) - 1)
            ids = np.where(inside, self.text.ids[at], np.int32(self.pad_id)).astype(np.int32, copy=False)
            weights = inside[:, 1:] if self.masked else np.ones_like(inside[:, 1:])
            yield Batch(ids[:, :-1], ids[:, 1:], weights.astype(np.float32), resets_state=step == 0)


@dataclass(frozen=True)
class Dataset:
    """What a model is fitted on.

    Attributes:
        train: the batches to learn from.
        held_out: the batches to judge by, or ``None`` where nothing was held out.
        carries_state: whether a batch starts with the state that the one before it left.
    """

    train: BatchPlan
    held_out: BatchPlan | None = None
    carries_state: bool = False

    def check(self) -> None:
        """Raise :class:`CorpusError` where there is not enough text for one batch."""
        if self.train.steps == 0:
            raise CorpusError(
                f"the corpus has {self.train.examples} training examples, fewer than one batch: use more text, or a "
                f"smaller --batch-size, training.length or training.held_out"
            )


def _order(count: int, seed: int, epoch: int, shuffle: bool) -> NDArray[np.intp]:
    if not shuffle:
        return np.arange(count)
    return np.random.default_rng([seed, epoch]).permutation(count)
