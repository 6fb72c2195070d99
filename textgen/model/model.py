"""The Model interface: what is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from textgen.model.fitting import Tensors, TrainingRun
from textgen.model.network import RecurrentNetwork
from textgen.model.state import State, StateSpec
from textgen.options import Options as BaseOptions
from textgen.text.batches import Dataset


class Model(ABC):
    """A language model over ids from 0 to ``vocab_size - 1``.

    Making one is cheap and imports no training library; weights come with :meth:`fit` or :meth:`load_weights`.

    Args:
        options: an instance of the class attribute ``Options``.
        vocab_size: the number of ids.
    """

    Options: ClassVar[type[BaseOptions]] = BaseOptions

    #: The runtime that runs the model with the library that trained it, by registered name.
    native_runtime: ClassVar[str]

    #: Epochs to train where nobody says how many; ``None`` for as many as suit the corpus.
    suggested_epochs: ClassVar[int | None] = None

    def __init__(self, options: BaseOptions, vocab_size: int) -> None:
        self.options = options
        self.vocab_size = vocab_size

    @classmethod
    def suggested_options(cls, characters: int) -> dict[str, Any]:
        """Options that suit a corpus of so many characters, where neither the user nor a recipe says anything."""
        return {}

    @property
    @abstractmethod
    def state_spec(self) -> StateSpec:
        """The tensors of the state, known without weights."""

    @property
    @abstractmethod
    def parameter_count(self) -> int:
        """The number of trainable numbers, known without weights."""

    @abstractmethod
    def fit(self, dataset: Dataset, run: TrainingRun) -> None:
        """Learn from a dataset, from ``run.checkpoint`` on where there is one, reporting to the run."""

    @abstractmethod
    def forward(
        self, ids: NDArray[np.int32], state: State, lengths: NDArray[np.int32] | None = None
    ) -> tuple[NDArray[np.float32], State]:
        """The model's own forward pass; as :meth:`textgen.generation.runtime.Runtime.forward`."""

    @abstractmethod
    def weights(self) -> Tensors:
        """The weights by name, as the artifact keeps them."""

    @abstractmethod
    def load_weights(self, tensors: Tensors) -> None:
        """Take weights that :meth:`weights` gave.

        Raises:
            ArtifactError: where a tensor is missing, superfluous, or has the wrong shape.
        """

    def keras_step(self) -> Callable[..., Any] | None:
        """The forward pass as a function of TensorFlow tensors, for export; ``None`` where there is no such.

        It takes ids ``[batch, time]`` int32, lengths ``[batch]`` int32 and the state's tensors in the order of
        :attr:`state_spec`, and returns a tuple: logits ``[batch, time, vocab]`` float32, then the state's tensors.
        """
        return None

    def describe(self, weights: Tensors) -> RecurrentNetwork | None:
        """The model as a neutral description, from its weights; ``None`` where it is no GRU or LSTM stack."""
        return None
