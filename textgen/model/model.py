"""The Model interface: a language model that can be trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from textgen.model.fitting import Tensors, TrainingRun
from textgen.model.fitting import TrainingOptions as BaseTrainingOptions
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

    #: The options of the model itself.
    Options: ClassVar[type[BaseOptions]] = BaseOptions

    #: The options of its training; a subclass adds those that :meth:`fit` honours besides.
    TrainingOptions: ClassVar[type[BaseTrainingOptions]] = BaseTrainingOptions

    #: The runtime that runs the model with the library that trained it, by registered name.
    native_runtime: ClassVar[str]

    #: Default number of epochs; ``None`` for a number that suits the corpus.
    suggested_epochs: ClassVar[int | None] = None

    def __init__(self, options: BaseOptions, vocab_size: int) -> None:
        self.options = options
        self.vocab_size = vocab_size

    @classmethod
    def suggested_options(cls, characters: int) -> dict[str, Any]:
        """Returns default options for a corpus of ``characters`` characters; the user and recipes override them."""
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
        """Trains on a dataset, from ``run.checkpoint`` if there is one, and reports to the run."""

    @abstractmethod
    def forward(
        self, ids: NDArray[np.int32], state: State, lengths: NDArray[np.int32] | None = None
    ) -> tuple[NDArray[np.float32], State]:
        """The model's own forward pass; as :meth:`textgen.generation.runtime.Runtime.forward`."""

    @abstractmethod
    def weights(self) -> Tensors:
        """Returns the weights by name, as they are saved."""

    @abstractmethod
    def load_weights(self, tensors: Tensors) -> None:
        """Takes weights that :meth:`weights` returned.

        Raises:
            ArtifactError: if a tensor is missing, superfluous, or has the wrong shape.
        """

    def describe(self, weights: Tensors) -> RecurrentNetwork | None:
        """Returns a neutral description of the model, given its weights; ``None`` if it is not a GRU or LSTM stack."""
        return None
