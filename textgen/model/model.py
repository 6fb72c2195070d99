"""The Model interface: a language model that can be trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from textgen.errors import UnsupportedModelError
from textgen.model.fitting import Tensors, TrainingRun
from textgen.model.fitting import TrainingOptions as BaseTrainingOptions
from textgen.model.network import RecurrentNetwork
from textgen.model.state import State, StateSpec
from textgen.ngrams.context_tree import ContextTree
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

    #: The options, such as dropout, on which no weight depends. They may change when weights are fine-tuned.
    adjustable: ClassVar[tuple[str, ...]] = ()

    def __init__(self, options: BaseOptions, vocab_size: int) -> None:
        self.options = options
        self.vocab_size = vocab_size

    @classmethod
    def suggested_options(cls, characters: int, labels: int = 0) -> dict[str, Any]:
        """Returns default options for a corpus of so many characters and labels; the user and recipes override them."""
        return {}

    @property
    @abstractmethod
    def state_spec(self) -> StateSpec:
        """The tensors of the state, known without weights."""

    @property
    @abstractmethod
    def parameter_count(self) -> int | None:
        """The number of trainable numbers, known without weights; ``None`` if it depends on the text."""

    @abstractmethod
    def fit(self, dataset: Dataset, run: TrainingRun) -> None:
        """Trains on a dataset and reports to the run.

        It starts from ``run.checkpoint`` if there is one, else from the weights that :meth:`load_weights` was given,
        else from new ones.
        """

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

    def grow_weights(self, tensors: Tensors, old_ids: NDArray[np.int32]) -> Tensors:
        """Converts weights that were trained with another vocabulary, to fine-tune them.

        The default takes them as they are if no id is new or has moved. A stack of GRU or LSTM layers can use
        :meth:`textgen.RecurrentNetwork.with_ids`.

        Args:
            tensors: what :meth:`weights` returned in a model of the same options.
            old_ids: ``[vocab_size]`` int32: for each of this model's ids the id that it had in that model, -1 for a new
                one.

        Returns:
            Weights for :meth:`load_weights`, a function of the arguments alone.

        Raises:
            UnsupportedModelError: if the model cannot convert its weights.
        """
        if not np.array_equal(old_ids, np.arange(self.vocab_size)):
            raise UnsupportedModelError(
                f"{type(self).__name__} cannot take another vocabulary: its weights can be fine-tuned only on text "
                "with the same characters"
            )
        return tensors

    def fitted_options(self, weights: Tensors) -> dict[str, Any]:
        """Returns options that training has fitted to held-out text, by its weights, for a run that holds none out."""
        return {}

    def describe(self, weights: Tensors) -> RecurrentNetwork | ContextTree | None:
        """Returns a neutral description of the model, given its weights.

        ``None`` if it is neither a GRU or LSTM stack nor an n-gram. The state of a :class:`textgen.ContextTree` that is
        the whole model is ``context``, as in a :class:`textgen.RecurrentNetwork`.
        """
        return None
