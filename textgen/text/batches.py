"""Encoded text arranged in batches: windows, contiguous lanes, packed documents, padded documents.

The order of the batches of an epoch depends on the seed and the epoch alone, so that training can go on from any batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textgen.errors import CorpusError
from textgen.text.encoded import EncodedText, Ids, _offsets


@dataclass(frozen=True)
class Batch:
    """Input ids and the ids that follow them.

    Attributes:
        inputs: ``[batch, time]`` int32.
        targets: ``[batch, time]`` int32; position t holds the id after ``inputs[:, t]``.
        weights: ``[batch, time]`` float32: 1 where the target counts in loss and metrics, 0 on padding.
        resets_state: whether a carried state starts anew before this batch.
        is_padded: whether what follows a row's last target that counts is padding, not text.
    """

    inputs: Ids
    targets: Ids
    weights: NDArray[np.float32]
    resets_state: bool = True
    is_padded: bool = True

    def lengths(self) -> Ids | None:
        """Ids of each row before its padding, ``[batch]``; ``None`` where there is no padding.

        A state that is carried to the next batch must not read what follows them.
        """
        if not self.is_padded:
            return None
        counts = self.weights > 0
        time = counts.shape[1]
        lengths = np.where(counts.any(axis=1), time - np.argmax(counts[:, ::-1], axis=1), 0)
        return None if (lengths == time).all() else lengths.astype(np.int32)


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
            rows = windows[order[step * self.batch_size : (step + 1) * self.batch_size]].astype(np.int32, copy=False)
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
            read, follow = inputs[:, at].astype(np.int32, copy=False), targets[:, at].astype(np.int32, copy=False)
            yield Batch(read, follow, np.ones(read.shape, np.float32), resets_state=step == 0)


@dataclass(frozen=True)
class PackedDocuments(Lanes):
    """:class:`Lanes` of documents that are laid end to end in another order each epoch: no id is padding.

    Rows read on from the end of a document into the next one, as sequences of language models are packed. The first
    id of a document follows from nothing, and does not count as a target; :class:`PaddedDocuments` has it as an input
    alone. Up to ``batch_size`` ids of an epoch are left out.
    """

    seed: int = 0
    shuffle: bool = True

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        order = _order(len(self.text), self.seed, epoch, self.shuffle)
        offsets = _offsets(self.text.lengths()[order])
        shifts = self.text.offsets[order] - offsets[:-1]
        rows = np.arange(self.batch_size)[:, None] * self._lane
        for step in range(start, self.steps):
            places = rows + np.arange(step * self.length, min((step + 1) * self.length, self._lane) + 1)
            documents = np.searchsorted(offsets, places, "right") - 1
            ids = self.text.ids[places + shifts[documents]].astype(np.int32, copy=False)
            counts = places[:, 1:] > offsets[documents[:, 1:]]
            yield Batch(ids[:, :-1], ids[:, 1:], counts.astype(np.float32), resets_state=step == 0, is_padded=False)


@dataclass(frozen=True)
class PaddedDocuments(BatchPlan):
    """A document a row, padded on the right to the longest of its batch, or to ``pad_to`` ids.

    Attributes:
        pad_id: fills rows up.
        pad_to: ids a row; ``None`` for the longest of the batch.
        masked: whether padding is left out of loss and metrics.
        bucket: whether rows of like length are put together; batches still come in random order.
        resets_state: whether every batch begins anew, where a state is carried from batch to batch in training.
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
    resets_state: bool = False

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
            keys = lengths.astype(np.min_scalar_type(lengths.max(initial=0)))  # 8 or 16 bits are sorted by radix
            order = order[np.argsort(keys[order], kind="stable")]
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
            resets = self.resets_state or step == 0
            yield Batch(ids[:, :-1], ids[:, 1:], weights.astype(np.float32), resets)


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
