"""The Model interface: what is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self

from numpy.typing import NDArray
from pydantic import Field, model_validator

from textgen.options import Options as BaseOptions
from textgen.text.batches import Batch

Tensors = Mapping[str, NDArray[Any]]


class TrainingOptions(BaseOptions):
    """How a model is trained. Models that do not learn by gradient ignore what concerns it."""

    layout: Literal["auto", "windows", "lanes", "documents", "packed"] = Field(
        "auto",
        description="How text becomes batches: shuffled windows, contiguous lanes with carried state, one padded "
        "document a row, or packed: lanes of documents end to end, shuffled each epoch, judged one a row; auto takes "
        "lanes for a stream and documents for documents.",
    )
    length: int = Field(100, ge=1, description="Characters a row of a batch, for windows, lanes and packed.")
    batch_size: int = Field(64, ge=1, description="Rows a batch.")
    epochs: int = Field(10, ge=1, description="Passes over the training text.")
    max_steps: int | None = Field(None, ge=1, description="Stop after this many batches in all.")
    held_out: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="Share of the text to judge by: the tail of a stream, or documents drawn by seed.",
    )
    shuffle: bool = Field(True, description="Shuffle windows and documents each epoch.")
    bucket: bool = Field(True, description="Put documents of like length in one batch.")
    drop_remainder: bool = Field(False, description="Leave out a last batch that is not full.")
    pad: Literal["batch", "longest"] = Field(
        "batch", description="Pad documents to the longest of their batch, or to the longest of all + 1."
    )
    mask_padding: bool = Field(True, description="Leave padding out of the loss.")
    carry_state: bool | None = Field(
        None, description="Start a batch with the state that the one before it left; by default for lanes and packed."
    )
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = Field("adam", description="Rule that changes the weights.")
    learning_rate: float = Field(2e-3, gt=0, description="Step size of the optimizer, where the schedule is highest.")
    schedule: Literal["constant", "cosine", "plateau"] = Field(
        "cosine",
        description="How the step size falls: not; along half a cosine to 0 at the last batch; by half whenever the "
        "held-out loss has not fallen for two epochs.",
    )
    warmup_steps: int = Field(
        100, ge=0, description="Batches in which the step size rises from 0; at most a tenth of the run."
    )
    weight_decay: float = Field(
        0.0, ge=0, description="Decoupled weight decay, a share of the step size; needs optimizer=adamw."
    )
    average: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="Decay a batch of the moving average of the weights, which is judged and kept; 0 averages nothing.",
    )
    patience: int | None = Field(
        None, ge=1, description="Stop after this many epochs without a lower held-out loss; by default never."
    )
    clip_norm: float | None = Field(1.0, gt=0, description="Upper bound of the gradients' global norm.")
    callbacks: tuple[str, ...] = Field((), description="Keras callbacks to call, by import path (package.module:Name).")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, or cuda[:N].")
    mixed_precision: bool = Field(
        False,
        description="Multiply in bfloat16, on a GPU or a CPU with AMX or AVX-512 BF16; weights, states and losses stay "
        "float32.",
    )
    checkpoint_every: int = Field(1, ge=1, description="Epochs between checkpoints.")
    sample_every: int = Field(1, ge=0, description="Epochs between printed samples; 0 prints none.")
    seed: int = Field(
        0, ge=0, lt=2**32, description="Seed of weights, order of batches, dropout and the held-out draw."
    )

    @model_validator(mode="after")
    def _decay_needs_adamw(self) -> Self:
        if self.weight_decay and self.optimizer != "adamw":
            raise ValueError(f"weight_decay has no meaning with optimizer={self.optimizer}; set optimizer=adamw")
        return self


@dataclass(frozen=True)
class Position:
    """How far training has come.

    Attributes:
        epoch: full epochs done.
        step: batches done in the epoch under way.
        total: batches done in all.
    """

    epoch: int = 0
    step: int = 0
    total: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """All that training needs to go on as if it had not stopped.

    Attributes:
        position: how far training had come.
        tensors: weights, optimizer and carried state, by the model's own names.
        numbers: what else the model keeps, as JSON values.
    """

    position: Position
    tensors: Tensors
    numbers: Mapping[str, Any] = field(default_factory=dict)


class TrainingRun(Protocol):
    """What a model reports to while it is fitted. The run owns progress, hooks, history and files."""

    options: TrainingOptions
    #: Where to go on from; ``None`` at the start.
    checkpoint: Checkpoint | None
    #: ``keras.callbacks.Callback`` objects of the caller, for models that train with Keras.
    callbacks: Sequence[Any]

    @property
    def should_stop(self) -> bool:
        """True once the user or a limit asks to stop; the model then finishes its batch and returns."""

    def batches(self, position: Position) -> Iterator[Batch]:
        """The rest of the epoch's training batches, as the hooks left them; ends early once :attr:`should_stop`."""

    def batch_ended(self, position: Position, loss: float, characters: int, learning_rate: float | None = None) -> None:
        """Report a batch: where training is now, its mean loss in nats a character, the targets that counted.

        Where there is one, the step size that it was learnt with, too.
        """

    def epoch_ended(self, position: Position, metrics: Mapping[str, float], checkpoint: Checkpoint) -> None:
        """Report an epoch: ``loss``, ``held_out_loss`` (nats a character) and others, and what to save."""

    def interrupted(self, checkpoint: Checkpoint, held_out_loss: float | None = None) -> None:
        """Hand over what to save where training stops inside an epoch.

        Where it stops because ``max_steps`` are done, the held-out loss decides whether these weights are the best.
        """

    def ask_to_stop(self) -> None:
        """Let :attr:`should_stop` be true: a process that trains the same run was asked to stop."""
