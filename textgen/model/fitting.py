"""Fitting a model: the options of training, and the run that a model reports to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from numpy.typing import NDArray
from pydantic import Field

from textgen.options import Options as BaseOptions
from textgen.text.batches import Batch

#: Arrays by name.
Tensors = Mapping[str, NDArray[Any]]


#: The largest number of epochs, rows and the like.
MOST = 2**31 - 1


class TrainingOptions(BaseOptions):
    """The training options that every model honours.

    A model that has more declares a subclass as its attribute ``TrainingOptions``; any other option is an error.
    """

    #: Options that may change when a run is resumed.
    resumable: ClassVar[tuple[str, ...]] = (
        "epochs",
        "stop_after",
        "max_steps",
        "patience",
        "checkpoint_every",
        "checkpoint_minutes",
        "sample_every",
        "device",
    )

    #: Options that name code to import, or are code, such as callbacks. A run records their names for information only:
    #: whoever trains gives them each time, so that no file of a run decides what is run.
    names_code: ClassVar[tuple[str, ...]] = ()

    #: Options that have these values in a run that begins with another one's weights, whatever they were there.
    from_trained: ClassVar[Mapping[str, Any]] = {}

    layout: Literal["auto", "windows", "lanes", "documents", "packed"] = Field(
        "auto",
        description="How text becomes batches: shuffled windows; contiguous lanes with carried state; documents, one "
        "padded document per row; or packed: lanes of documents end to end, shuffled each epoch, judged one per row. "
        "auto takes lanes for a stream and documents for documents.",
    )
    length: int = Field(
        100,
        ge=1,
        le=MOST,
        description="Tokens per row of a batch, for windows, lanes and packed; a token of a character tokenizer is a "
        "character.",
    )
    batch_size: int = Field(64, ge=1, le=MOST, description="Rows per batch.")
    epochs: int = Field(10, ge=1, le=MOST, description="Passes over the training text.")
    stop_after: int | None = Field(
        None,
        ge=1,
        le=MOST,
        description="Stop after this many epochs, with the step sizes of a run of all epochs; by default after all.",
    )
    max_steps: int | None = Field(None, ge=1, le=MOST, description="Stop after this many batches in all.")
    held_out: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="Share of the text to judge by: the tail of a stream, or documents drawn by seed.",
    )
    drop_duplicates: bool = Field(
        True,
        description="Leave out documents with the text, and the label, of an earlier one, before any are held out.",
    )
    shuffle: bool = Field(True, description="Shuffle windows and documents each epoch.")
    bucket: bool = Field(True, description="Put documents of similar length in one batch.")
    drop_remainder: bool = Field(False, description="Leave out a last batch that is not full.")
    pad: Literal["batch", "longest"] = Field(
        "batch", description="Pad documents to the longest of their batch, or to the longest of all + 1."
    )
    mask_padding: bool = Field(True, description="Leave padding out of the loss.")
    carry_state: bool | None = Field(
        None,
        description="Start a batch with the state in which the previous one ended; by default for lanes and packed.",
    )
    patience: int | None = Field(
        None, ge=1, le=MOST, description="Stop after this many epochs without a lower held-out loss; by default never."
    )
    device: str = Field("auto", pattern=r"^(auto|cpu)$", description="auto or cpu.")
    checkpoint_every: int = Field(1, ge=1, le=MOST, description="Epochs between checkpoints.")
    checkpoint_minutes: float = Field(
        10, ge=0, le=MOST, description="Minutes after which a checkpoint is saved within an epoch; 0 saves none there."
    )
    sample_every: int = Field(1, ge=0, le=MOST, description="Epochs between printed samples; 0 prints none.")
    seed: int = Field(
        0, ge=0, lt=2**32, description="Seed of weights, order of batches, dropout and the held-out draw."
    )

    @property
    def last_epoch(self) -> int:
        """The epoch after which training stops, unless something else stops it before."""
        return min(self.epochs, self.stop_after or self.epochs)


@dataclass(frozen=True)
class Position:
    """A position in training.

    Attributes:
        epoch: full epochs done.
        step: batches done in the current epoch.
        total: batches done in all.
    """

    epoch: int = 0
    step: int = 0
    total: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """All that a model needs to resume training as if it had not stopped.

    Attributes:
        position: the position at which it was taken.
        tensors: weights, optimizer and carried state, by the model's own names.
        numbers: anything else that the model keeps, as JSON values.
    """

    position: Position
    tensors: Tensors
    numbers: Mapping[str, Any] = field(default_factory=dict)


class TrainingRun(Protocol):
    """The run that a model reports to while it is fitted. It owns limits, progress, hooks, history and files."""

    #: An instance of the model's own ``TrainingOptions``.
    options: TrainingOptions
    #: The checkpoint to resume from; ``None`` at the start.
    checkpoint: Checkpoint | None

    @property
    def should_stop(self) -> bool:
        """True once the user or a limit asks to stop; the model then finishes its batch and returns."""

    @property
    def should_save(self) -> bool:
        """True once a checkpoint is due within an epoch; the model then calls :meth:`save`."""

    def batches(self, position: Position) -> Iterator[Batch]:
        """Yields the rest of the epoch's training batches, as changed by hooks; ends early on :attr:`should_stop`."""

    def batch_ended(self, position: Position, loss: float, targets: int, learning_rate: float | None = None) -> None:
        """Reports a batch.

        Args:
            position: the position after it.
            loss: its mean loss in nats per target.
            targets: the number of targets that counted. The run knows how many characters they stand for.
            learning_rate: the step size, if the model has one.
        """

    def epoch_ended(self, position: Position, metrics: Mapping[str, float], checkpoint: Checkpoint) -> None:
        """Reports an epoch: ``loss``, ``held_out_loss`` (nats per target) and others, and the state to save.

        The history has the losses per character.
        """

    def interrupted(self, checkpoint: Checkpoint, held_out_loss: float | None = None) -> None:
        """Reports the state to save when training stops inside an epoch.

        If it stops because ``max_steps`` are done, the held-out loss (nats per target) decides whether these weights
        are the best.
        """

    def save(self, checkpoint: Checkpoint) -> None:
        """Saves a checkpoint within an epoch, between two batches; training then continues.

        Args:
            checkpoint: the same as for :meth:`interrupted` at this position. The model's weights are those to keep.
        """

    def ask_to_stop(self) -> None:
        """Sets :attr:`should_stop`: another process that trains the same run was asked to stop."""
