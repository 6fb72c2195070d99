"""The model ``ngram``, which is trained by reading the text once, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from textgen import (
    NGRAM_STATE,
    BatchPlan,
    Checkpoint,
    ContextTree,
    Dataset,
    KneserNey,
    Model,
    NGramCounts,
    Position,
    State,
    StateSpec,
    Tensors,
    TrainingRun,
    largest_order,
    make_tree,
    read_codes,
    read_contexts,
)
from textgen.errors import ArtifactError, OptionError, UnsupportedModelError
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
    contexts: int | None = Field(
        None,
        ge=2,
        le=2**31 - 1,
        description="The most contexts that are kept: those that predict best. By default all, which are too many to "
        "export if the text is long.",
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
    adjustable: ClassVar[tuple[str, ...]] = ("contexts",)

    options: NGramOptions

    def __init__(self, options: NGramOptions, vocab_size: int) -> None:
        super().__init__(options, vocab_size)
        largest = largest_order(vocab_size)
        self.order = options.order or min(ORDER, largest)
        if self.order > largest:
            raise OptionError(f"model.order={self.order} is too large for {vocab_size:,} ids; use at most {largest}")
        self._counts = NGramCounts(self.order, vocab_size)
        self._tree: ContextTree | None = None

    @property
    def state_spec(self) -> StateSpec:
        """``context``, int32 of shape ``[]``: the number of the longest known context that ends here."""
        return NGRAM_STATE

    @property
    def parameter_count(self) -> None:
        """``None``: an n-gram has a count only if it occurs."""
        return None

    def fit(self, dataset: Dataset, run: TrainingRun) -> None:
        reading = self._restore(run.checkpoint) if run.checkpoint else self._begin(Position())
        while reading.at.epoch < run.options.epochs and not run.should_stop:
            for batch in run.batches(reading.at):
                contexts, reading.before = read_codes(
                    reading.before, batch, self._counts, carries_state=dataset.carries_state
                )
                counts = batch.weights > 0
                loss, targets = reading.loss_of(contexts[counts], batch.targets[counts])
                self._counts.add((contexts * self._counts.base + batch.targets + 1)[counts])
                reading.add(loss, targets)
                if reading.targets >= 2 * reading.judged_targets:  # the text has doubled
                    reading.judge_by(self._counts.copy(), reading.targets)
                run.batch_ended(reading.at, loss, targets)
                if run.should_save:
                    run.save(self._checkpoint(reading))
            self._tree = None
            if reading.at.step < dataset.train.steps:
                run.interrupted(self._checkpoint(reading))
                return
            metrics = {"loss": reading.loss}
            if dataset.held_out is not None:
                metrics["held_out_loss"] = self._loss_of(dataset.held_out, carries_state=dataset.carries_state)
            reading = self._begin(Position(reading.at.epoch + 1, 0, reading.at.total))
            run.epoch_ended(reading.at, metrics, self._checkpoint(reading))

    def forward(
        self, ids: NDArray[np.int32], state: State, lengths: NDArray[np.int32] | None = None
    ) -> tuple[NDArray[np.float32], State]:
        self.state_spec.check(state)
        tree = self._made_tree()
        contexts, after = tree.advance(ids, state["context"], lengths)
        return tree.log_probabilities(contexts), State({"context": after})

    def describe(self, weights: Tensors) -> ContextTree:
        """Returns the automaton.

        Raises:
            ArtifactError: if the weights are not those of this model.
            UnsupportedModelError: if it has too many contexts for tables of all contexts and ids.
        """
        self.load_weights(weights)
        tree, most = self._made_tree(), ContextTree.most_contexts(self.vocab_size)
        if len(tree) > most:
            raise UnsupportedModelError(
                f"this n-gram has {len(tree):,} contexts, too many to export; keep those that predict best: train it "
                f"with --set model.contexts={most}"
            )
        return tree

    def weights(self) -> Tensors:
        self._counts.merge()
        return {"ngrams": self._counts.codes.copy(), "counts": self._counts.counts.copy()}

    def load_weights(self, tensors: Tensors) -> None:
        self._check(tensors)
        self._counts = self._new_counts()
        self._counts.add_counted(tensors["ngrams"], tensors["counts"])
        self._tree = None

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
        if len(codes) and (codes[0] < 1 or codes[-1] >= top or (np.diff(codes) <= 0).any() or self._has_gap(codes)):
            raise ArtifactError(f"the weights are not sorted n-grams of {self.order} out of {self.vocab_size:,} ids")
        if len(counts) and counts.min() < 1:
            raise ArtifactError("the weights have counts below 1")
        if counts.sum(dtype=np.float64) > MOST_TARGETS:
            raise ArtifactError(f"the weights count more than {MOST_TARGETS:,} n-grams")

    def _has_gap(self, codes: Codes) -> bool:
        """Whether a place after an id is none; only those before the beginning of a text are."""
        while codes.any():
            codes, last = np.divmod(codes, self._counts.base)
            if (last[codes > 0] == 0).any():
                return True
        return False

    def grow_weights(self, tensors: Tensors, old_ids: NDArray[np.int32]) -> Tensors:
        former = NGram(self.options, int(np.count_nonzero(old_ids >= 0)))
        former.load_weights(tensors)
        grown = former._counts.with_ids(old_ids, self.order)
        return {"ngrams": grown.codes, "counts": grown.counts}

    def _begin(self, position: Position) -> _Reading:
        """An epoch whose first batches are judged by the counts so far."""
        return _Reading(position, self._counts.copy())

    def _made_tree(self) -> ContextTree:
        """The automaton that follows from the counts."""
        if self._tree is None:
            self._tree = make_tree(self._counts, self.options.contexts)
        return self._tree

    def _loss_of(self, plan: BatchPlan, *, carries_state: bool) -> float:
        """The mean loss of a text in nats per target."""
        tree, nats, targets = self._made_tree(), 0.0, 0
        for batch, contexts in read_contexts(tree, plan, carries_state=carries_state):
            counts = batch.weights > 0
            loss = tree.log_probability_of(batch.targets[counts], contexts[counts])
            nats, targets = nats - float(loss.sum(dtype=np.float64)), targets + len(loss)
        return nats / max(targets, 1)

    def _checkpoint(self, reading: _Reading) -> Checkpoint:
        tensors = dict(self.weights())
        tensors |= {"judging.ngrams": reading.judging.codes, "judging.counts": reading.judging.counts}
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
        counts = self._new_counts()
        counts.add_counted(judging["ngrams"], judging["counts"])
        return _Reading(checkpoint.position, counts, before, numbers.nats, numbers.targets, numbers.judged_targets)

    def _new_counts(self) -> NGramCounts:
        return NGramCounts(self.order, self.vocab_size)


class _Numbers(BaseModel):
    """The numbers of a checkpoint."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    nats: float
    targets: int = Field(ge=0, le=MOST_TARGETS)
    judged_targets: int = Field(ge=0, le=MOST_TARGETS)


@dataclass
class _Reading:
    """Progress through a text: the position, what came last, and the loss so far.

    Attributes:
        judging: counts of the first ``judged_targets`` targets, which batches are judged by.
        before: the last n - 1 digits of each row, ``[batch]`` int64.
    """

    at: Position
    judging: NGramCounts
    before: Codes | None = None
    nats: float = 0.0
    targets: int = 0
    judged_targets: int = 0
    _smoothed: KneserNey | None = None

    def add(self, loss: float, targets: int) -> None:
        """Add a batch."""
        self.at = Position(self.at.epoch, self.at.step + 1, self.at.total + 1)
        self.nats += loss * targets
        self.targets += targets

    def judge_by(self, counts: NGramCounts, targets: int) -> None:
        """Judge the next batches by counts of so many targets."""
        self.judging, self.judged_targets, self._smoothed = counts, targets, None

    def loss_of(self, contexts: Codes, ids: NDArray[np.int32]) -> tuple[float, int]:
        """The mean loss of ids after contexts, both ``[k]``, in nats, and their number."""
        if self._smoothed is None:
            self._smoothed = KneserNey(self.judging)
        return float(-np.log(self._smoothed.probabilities(contexts, ids)).sum()) / max(len(ids), 1), len(ids)

    @property
    def loss(self) -> float:
        """The mean loss in nats per target."""
        return self.nats / max(self.targets, 1)


def _weights_in(tensors: Tensors, prefix: str) -> Tensors:
    """Those weights of a checkpoint that it has."""
    return {name: tensors[prefix + name] for name in ("ngrams", "counts") if prefix + name in tensors}
