"""Batches of encoded text: windows, contiguous lanes, packed documents, padded documents.

The order of the batches depends only on the seed and the epoch, so training can resume at any batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass

import numpy as np
from numpy.typing import NDArray

from textgen.errors import CorpusError
from textgen.text.encoded import EncodedText, Ids, offsets_of


@dataclass(frozen=True)
class Batch:
    """Input ids and the ids that follow them.

    Attributes:
        inputs: ``[batch, time]`` int32.
        targets: ``[batch, time]`` int32; position t holds the id after ``inputs[:, t]``.
        weights: ``[batch, time]`` float32; 1 if the target counts in loss and metrics, 0 if it does not.
        resets_state: whether a carried state is reset before this batch.
        is_padded: whether the ids after the last counted target of a row are padding. Packed rows have none: there,
            a weight of 0 marks the beginning of a document.
    """

    inputs: Ids
    targets: Ids
    weights: NDArray[np.float32]
    _: KW_ONLY
    resets_state: bool = True
    is_padded: bool = True

    def fault(self, vocab_size: int) -> str | None:
        """What is wrong with a batch that a plugin made, in words; ``None`` if it can be trained on."""
        arrays = (self.inputs, self.targets, self.weights)
        if not all(isinstance(array, np.ndarray) and array.ndim == 2 for array in arrays):
            return "a batch whose inputs, targets and weights are not all arrays [batch, time]"
        if len({array.shape for array in arrays}) > 1 or not self.inputs.size:
            return f"a batch of the shapes {', '.join(str(array.shape) for array in arrays)}; they must be the same"
        if "".join(array.dtype.kind for array in arrays) not in ("iif", "uuf", "iuf", "uif"):
            return f"a batch of the dtypes {', '.join(str(array.dtype) for array in arrays)}, not int32, int32, float32"
        for ids in (self.inputs, self.targets):
            if ids.min() < 0 or ids.max() >= vocab_size:
                return f"a batch with ids from {ids.min()} to {ids.max()}, but the vocabulary has {vocab_size}"
        if not np.isfinite(self.weights).all() or self.weights.min() < 0:
            return "a batch with weights that are negative or not finite"
        return None

    def follows(self, rows: int | None, *, carries_state: bool) -> bool:
        """Whether a state is carried into this batch.

        Args:
            rows: the rows of the state that the batch before it has left; ``None`` before the first batch.
            carries_state: whether states are carried at all.
        """
        return carries_state and not self.resets_state and rows == len(self.inputs)

    def lengths(self) -> Ids | None:
        """The number of ids of each row before its padding, ``[batch]`` int32; ``None`` without padding.

        A state that is carried to the next batch must not read the padding.
        """
        if not self.is_padded:
            return None
        counts = self.weights > 0
        time = counts.shape[1]
        lengths = np.where(counts.any(axis=1), time - np.argmax(counts[:, ::-1], axis=1), 0)
        return None if (lengths == time).all() else lengths.astype(np.int32)


class BatchPlan(ABC):
    """An arrangement of encoded text in the batches of an epoch."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """The number of batches per epoch."""

    @property
    @abstractmethod
    def examples(self) -> int:
        """The number of rows per epoch, including those that ``drop_remainder`` leaves out."""

    @abstractmethod
    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch, beginning with batch ``start``; epochs and batches count from 0."""


@dataclass(frozen=True)
class Windows(BatchPlan):
    """Adjacent windows of ``length + 1`` ids; the first ``length`` are inputs, the last ``length`` targets.

    ``drop_remainder`` drops a last batch that is not full. A tail shorter than a window is always dropped.
    """

    text: EncodedText
    length: int
    batch_size: int
    _: KW_ONLY
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
    """The text cut into ``batch_size`` contiguous lanes, read side by side, ``length`` ids per batch.

    Row r of a batch begins where row r of the previous batch ended, so a state carried from batch to batch has seen the
    whole lane. The last batch may be shorter in time.
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
    """:class:`Lanes` of documents laid end to end, in a new order each epoch, without padding.

    A row runs from the end of a document into the next one, as sequences of language models are packed. The first id of
    a document has no context, so it does not count as a target (in :class:`PaddedDocuments` it is only an input). Up to
    ``batch_size`` ids are left out of an epoch.
    """

    _: KW_ONLY
    seed: int = 0
    shuffle: bool = True

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        order = _order(len(self.text), self.seed, epoch, self.shuffle)
        offsets = offsets_of(self.text.lengths()[order])
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
    """One document per row, padded on the right to the longest of its batch, or to ``pad_to`` ids.

    Attributes:
        pad_id: the id of the padding.
        pad_to: ids per row; ``None`` for the length of the longest document of the batch.
        masked: whether padding is excluded from loss and metrics.
        bucket: whether documents of similar length share a batch; batches still come in random order.
        resets_state: whether every batch resets a carried state, or only the first.
    """

    text: EncodedText
    batch_size: int
    _: KW_ONLY
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
            keys = lengths.astype(np.min_scalar_type(lengths.max(initial=0)))  # NumPy sorts 8 and 16 bits by radix
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
            yield Batch(ids[:, :-1], ids[:, 1:], weights.astype(np.float32), resets_state=resets)


@dataclass(frozen=True)
class Dataset:
    """The data that a model is fitted on.

    Attributes:
        train: the batches to train on.
        held_out: the batches to evaluate on, or ``None`` if nothing is held out.
        carries_state: whether a batch starts from the state that the previous batch left.
        characters_per_target: the mean number of characters that a training target stands for.
        held_out_characters_per_target: the same of the held-out targets.
        marks: the ids that are not text: of labels, of the end of a document, of padding and of unknown characters.
    """

    train: BatchPlan
    held_out: BatchPlan | None = None
    carries_state: bool = False
    _: KW_ONLY
    characters_per_target: float = 1.0
    held_out_characters_per_target: float = 1.0
    marks: tuple[int, ...] = ()

    @property
    def has_long_tokens(self) -> bool:
        """Whether tokens stand for more or fewer characters than one, so that figures per token differ."""
        return self.characters_per_target != 1 or self.held_out_characters_per_target != 1

    def check(self) -> None:
        """Checks that there is at least one batch.

        Raises:
            CorpusError: if there is not enough text.
        """
        if self.train.steps == 0:
            raise CorpusError(
                f"the corpus has {self.train.examples} training examples, fewer than one batch: use more text, or a "
                f"smaller --batch-size, training.length or training.held_out"
            )


def _order(count: int, seed: int, epoch: int, shuffle: bool) -> NDArray[np.intp]:
    if not shuffle:
        return np.arange(count)
    return np.random.default_rng([seed, epoch]).permutation(count)
