"""The model ``ngram``, which is trained by reading the text once, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from textgen import (
    Batch,
    Checkpoint,
    Dataset,
    KneserNey,
    Model,
    NGramCounts,
    Position,
    State,
    StateSpec,
    Tensors,
    TensorSpec,
    TrainingRun,
)
from textgen.errors import ArtifactError, OptionError
from textgen.options import Options

Codes = NDArray[np.int64]

#: The default order; a longer one gains little and learns texts by heart.
ORDER = 8

#: The most n-grams that are counted: sums of counts are exact in double precision.
MOST_TARGETS = 2**53

#: The most nats per target: no probability is below the smallest double.
MOST_NATS = 745.0


class NGramOptions(Options):
    """Options of :class:`NGram`."""

    order: int | None = Field(
        None,
        ge=2,
        le=16,
        description="Tokens per n-gram: the predicted one and those before it. By default 8, or the most that a large "
        "vocabulary allows.",
    )


class NGram(Model):
    """Predicts an id from the ``order - 1`` before it, by counts of n-grams with Kneser-Ney smoothing.

    The training loss is that of each batch before it is counted, by the counts so far. One epoch is enough: further
    ones count the same text again, which only weakens the smoothing.

    Raises:
        OptionError: if the order is too large for the vocabulary.
    """

    Options = NGramOptions
    native_runtime: ClassVar[str] = "numpy"
    suggested_epochs = 1

    options: NGramOptions

    def __init__(self, options: NGramOptions, vocab_size: int) -> None:
        super().__init__(options, vocab_size)
        largest = _largest_order(vocab_size)
        self.order = options.order or min(ORDER, largest)
        if self.order > largest:
            raise OptionError(f"model.order={self.order} is too large for {vocab_size:,} ids; use at most {largest}")
        self._counts = NGramCounts(self.order, vocab_size)
        self._automaton: _Automaton | None = None

    @property
    def state_spec(self) -> StateSpec:
        """``context``, int32 of shape ``[]``: the number of the longest context that ends here and was seen before."""
        return StateSpec((TensorSpec("context", (), "int32"),))

    @property
    def parameter_count(self) -> None:
        """``None``: an n-gram has a count only if it occurs."""
        return None

    def fit(self, dataset: Dataset, run: TrainingRun) -> None:
        if run.checkpoint is None:
            self._finish()
        reading = self._restore(run.checkpoint) if run.checkpoint else self._begin(Position())
        while reading.at.epoch < run.options.epochs and not run.should_stop:
            for batch in run.batches(reading.at):
                contexts = self._contexts(batch, reading, carries_state=dataset.carries_state)
                loss, targets = self._loss(reading.smoothed, contexts, batch)
                counts = batch.weights > 0
                self._counts.add((contexts * self._counts.base + batch.targets + 1)[counts])
                reading.add(loss, targets)
                self._smooth_again(reading)
                run.batch_ended(reading.at, loss, targets)
                if run.should_save:
                    run.save(self._checkpoint(reading))
            if reading.at.step < dataset.train.steps:
                run.interrupted(self._checkpoint(reading))
                return
            self._finish()
            metrics = {"loss": reading.loss}
            if dataset.held_out is not None:
                metrics["held_out_loss"] = self._held_out_loss(dataset)
            reading = self._begin(Position(reading.at.epoch + 1, 0, reading.at.total))
            run.epoch_ended(reading.at, metrics, self._checkpoint(reading))

    def forward(
        self, ids: NDArray[np.int32], state: State, lengths: NDArray[np.int32] | None = None
    ) -> tuple[NDArray[np.float32], State]:
        self.state_spec.check(state)
        if self._automaton is None:
            self._finish()
        if self._automaton is None:  # nothing was counted
            uniform = np.full((*ids.shape, self.vocab_size), -np.log(self.vocab_size), np.float32)
            return uniform, State({"context": np.zeros(len(ids), np.int32)})
        return self._automaton.read(ids, state["context"], lengths)

    def weights(self) -> Tensors:
        self._counts.merge()
        return {"ngrams": self._counts.codes.copy(), "counts": self._counts.counts.copy()}

    def load_weights(self, tensors: Tensors) -> None:
        self._check(tensors)
        self._counts = self._new_counts()
        self._counts.add_counted(tensors["ngrams"], tensors["counts"])
        self._automaton = None

    def _check(self, tensors: Tensors) -> None:
        """Check that tensors are weights of this model.

        Raises:
            ArtifactError: if they are not.
        """
        kinds = {name: (array.dtype.name, array.ndim) for name, array in tensors.items()}
        if kinds != {"ngrams": ("int64", 1), "counts": ("int64", 1)} or len({*map(len, tensors.values())}) != 1:
            raise ArtifactError(f"the weights are not n-grams and their counts: {kinds}")
        codes, counts = tensors["ngrams"], tensors["counts"]
        top = self._counts.base**self.order
        if len(codes) and (
            codes[0] < 0 or codes[-1] >= top or (np.diff(codes) <= 0).any() or (codes % self._counts.base == 0).any()
        ):
            raise ArtifactError(f"the weights are not sorted n-grams of {self.order} out of {self.vocab_size:,} ids")
        if len(counts) and counts.min() < 1:
            raise ArtifactError("the weights have counts below 1")
        if counts.sum(dtype=np.float64) > MOST_TARGETS:
            raise ArtifactError(f"the weights count more than {MOST_TARGETS:,} n-grams")

    def grow_weights(self, tensors: Tensors, old_ids: NDArray[np.int32]) -> Tensors:
        former = NGram(self.options, int(np.count_nonzero(old_ids >= 0)))
        former.load_weights(tensors)
        grown = former._counts.with_ids(old_ids, self.order)
        return {"ngrams": grown.codes, "counts": grown.counts}

    def _begin(self, position: Position) -> _Reading:
        """An epoch whose first batches are judged by what :meth:`_finish` derived from the counts so far."""
        reading = _Reading(position)
        reading.judge_by(self.weights(), self._automaton.smoothed if self._automaton else None, 0)
        return reading

    def _finish(self) -> None:
        """Derive the probabilities from the counts."""
        self._counts.merge()
        smoothed = _smoothed(self._counts)
        self._automaton = None if smoothed is None else _Automaton(smoothed)

    def _contexts(self, batch: Batch, reading: _Reading, *, carries_state: bool) -> Codes:
        """The n - 1 digits before each target, ``[batch, time]`` int64; the reading goes on after them."""
        before = reading.before
        if before is None or not carries_state or batch.resets_state or len(before) != len(batch.inputs):
            before = np.zeros(len(batch.inputs), np.int64)
        read = _read(before, batch.inputs, self._counts.base, self.order)
        lengths = batch.lengths()
        last = np.full(len(read), batch.inputs.shape[1]) if lengths is None else lengths
        reading.before = read[np.arange(len(read)), last]
        return read[:, 1:]

    def _loss(self, smoothed: KneserNey | None, contexts: Codes, batch: Batch) -> tuple[float, int]:
        """The mean loss of a batch in nats per target, and the number of targets that count."""
        counts = batch.weights > 0
        targets = int(np.count_nonzero(counts))
        if smoothed is None:
            return float(np.log(self.vocab_size)), targets
        contexts = contexts[counts]
        p = smoothed.probabilities(contexts, np.full(contexts.shape, self.order), batch.targets[counts])
        return float(-np.log(p).sum()) / max(targets, 1), targets

    def _smooth_again(self, reading: _Reading) -> None:
        """Derive the probabilities that the next batches are judged by, each time that the text has doubled."""
        if reading.targets >= 2 * reading.judged_targets:
            weights = self.weights()  # which brings the counts up to date
            reading.judge_by(weights, _smoothed(self._counts), reading.targets)

    def _held_out_loss(self, dataset: Dataset) -> float:
        assert dataset.held_out is not None
        total = _Reading(Position())
        smoothed = self._automaton.smoothed if self._automaton else None
        for batch in dataset.held_out.batches(epoch=0):
            contexts = self._contexts(batch, total, carries_state=dataset.carries_state)
            total.add(*self._loss(smoothed, contexts, batch))
        return total.loss

    def _checkpoint(self, reading: _Reading) -> Checkpoint:
        tensors = dict(self.weights())
        tensors |= {f"judging.{name}": array for name, array in reading.judging.items()}
        if reading.before is not None:
            tensors["before"] = reading.before
        numbers = {"nats": reading.nats, "targets": reading.targets, "judged_targets": reading.judged_targets}
        return Checkpoint(reading.at, tensors, numbers)

    def _restore(self, checkpoint: Checkpoint) -> _Reading:
        """The reading that a checkpoint was made of.

        Raises:
            ArtifactError: if it is not one of this model.
        """
        try:
            numbers = _Numbers.model_validate(checkpoint.numbers)
            is_sane = -1e-6 * numbers.targets <= numbers.nats <= MOST_NATS * numbers.targets  # but for rounding
            if not is_sane or numbers.judged_targets > numbers.targets:
                raise ValueError
        except ValueError:  # pydantic's, too
            raise ArtifactError("the checkpoint's numbers are not those of this model") from None
        tensors = checkpoint.tensors
        before = tensors.get("before")
        if before is not None:
            top = self._counts.base ** (self.order - 1)
            if (
                before.dtype != np.int64
                or before.ndim != 1
                or before.min(initial=0) < 0
                or before.max(initial=0) >= top
            ):
                raise ArtifactError("the checkpoint's tensor before is not the end of a text of this model")
        self.load_weights(_weights_in(tensors, ""))
        judging = _weights_in(tensors, "judging.")
        self._check(judging)
        reading = _Reading(checkpoint.position, before, numbers.nats, numbers.targets)
        counts = self._new_counts()
        counts.add_counted(judging["ngrams"], judging["counts"])
        reading.judge_by(judging, _smoothed(counts), numbers.judged_targets)
        return reading

    def _new_counts(self) -> NGramCounts:
        return NGramCounts(self.order, self.vocab_size)


class _Numbers(BaseModel):
    """The numbers of a checkpoint."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    nats: float
    targets: int = Field(ge=0, le=MOST_TARGETS)
    judged_targets: int = Field(ge=0, le=MOST_TARGETS)


class _Automaton:
    """The contexts as numbered states: 0 is the beginning of a text, 1 is the empty context, then come longer ones."""

    def __init__(self, smoothed: KneserNey) -> None:
        self.smoothed = smoothed
        contexts = [level.contexts for level in smoothed.levels]
        sizes = [len(codes) for codes in contexts]
        self._codes = np.concatenate([np.zeros(1, np.int64), *contexts])
        self._lengths = np.repeat([1, *range(smoothed.order)], [1, *sizes])
        self._firsts = np.cumsum([1, *sizes])

    def read(
        self, ids: NDArray[np.int32], nodes: NDArray[np.int32], lengths: NDArray[np.int32] | None
    ) -> tuple[NDArray[np.float32], State]:
        """Logits ``[batch, time, V]`` float32, and the state after each row's last id."""
        smoothed = self.smoothed
        if nodes.min(initial=0) < 0 or nodes.max(initial=0) >= len(self._codes):
            raise ArtifactError(f"the state does not belong to this model, which has {len(self._codes):,} contexts")
        read = _read(self._codes[nodes], ids, smoothed.base, smoothed.order)
        known = np.minimum(self._lengths[nodes][:, None] + np.arange(ids.shape[1] + 1), smoothed.order - 1)
        contexts, reach = read[:, 1:].ravel(), known[:, 1:].ravel()
        logits = np.log(smoothed.distributions(contexts, reach)).astype(np.float32)
        last = np.full(len(ids), ids.shape[1]) if lengths is None else lengths
        rows = np.arange(len(ids))
        after = np.where(last > 0, self._find(read[rows, last], known[rows, last]), nodes)
        return logits.reshape(*ids.shape, -1), State({"context": after})

    def _find(self, contexts: Codes, known: NDArray[np.intp]) -> NDArray[np.int32]:
        """The numbers of the longest ends of contexts that occur in the text, ``[k]`` int32."""
        nodes = np.zeros(contexts.shape, np.int64)
        for length, level in enumerate(self.smoothed.levels):
            places, found = level.find(contexts % self.smoothed.base**length)
            nodes = np.where(found & (known >= length), self._firsts[length] + places, nodes)
        return nodes.astype(np.int32)


@dataclass
class _Reading:
    """Progress through a text: the position, what came last, and the loss so far.

    Attributes:
        before: the last n - 1 digits of each row, ``[batch]`` int64.
        judging: the weights, counted in the first ``judged_targets`` targets, that batches are judged by.
        smoothed: the probabilities that follow from them.
    """

    at: Position
    before: Codes | None = None
    nats: float = 0.0
    targets: int = 0
    judging: Tensors = field(default_factory=dict)
    judged_targets: int = 0
    smoothed: KneserNey | None = None

    def add(self, loss: float, targets: int) -> None:
        """Add a batch."""
        self.at = Position(self.at.epoch, self.at.step + 1, self.at.total + 1)
        self.nats += loss * targets
        self.targets += targets

    def judge_by(self, weights: Tensors, smoothed: KneserNey | None, targets: int) -> None:
        """Judge the next batches by ``weights``, counted in so many targets, and by what follows from them."""
        self.judging, self.smoothed, self.judged_targets = weights, smoothed, targets

    @property
    def loss(self) -> float:
        """The mean loss in nats per target."""
        return self.nats / max(self.targets, 1)


def _smoothed(counts: NGramCounts) -> KneserNey | None:
    """The probabilities that follow from counts that are up to date; ``None`` if nothing was counted."""
    return KneserNey(counts) if len(counts.codes) else None


def _weights_in(tensors: Tensors, prefix: str) -> Tensors:
    """Those weights of a checkpoint that it has."""
    return {name: tensors[prefix + name] for name in ("ngrams", "counts") if prefix + name in tensors}


def _largest_order(vocab_size: int) -> int:
    """The largest n for which the code of an n-gram fits 63 bits."""
    order = 1
    while (vocab_size + 1) ** (order + 1) < 2**63:
        order += 1
    return order


def _read(before: Codes, ids: NDArray[np.int32], base: int, order: int) -> Codes:
    """The last n - 1 digits before each of ``ids [batch, time]`` and after the last: ``[batch, time + 1]`` int64."""
    read = np.empty((len(ids), ids.shape[1] + 1), np.int64)
    read[:, 0] = before
    for position in range(ids.shape[1]):
        read[:, position + 1] = (read[:, position] * base + ids[:, position] + 1) % base ** (order - 1)
    return read
