"""The base of models that train with Keras, public for third parties. Nothing heavy is imported here."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from textgen import Dataset, Model, State, Tensors, TrainingRun
from textgen.errors import OptionError
from textgen.options import Options
from textgen_keras.devices import multiplies_bfloat16, placed_on, resolve_device
from textgen_keras.libraries import require_tensorflow
from textgen_keras.shapes import check_shapes
from textgen_keras.training.memory import keep_freed_memory

if TYPE_CHECKING:
    from textgen_keras.stateful_network import StatefulNetwork


class KerasModel(Model):
    """A model whose network is written in Keras; training, runtime ``keras`` and weights' files come with this class.

    A subclass says its state (:attr:`state_spec`) and its weights' shapes (:attr:`tensor_shapes`) without TensorFlow,
    and makes the network (:meth:`make_network`). It can then be exported with ``--via tf2onnx``.

    The weights are drawn from the run's seed by :meth:`fit`, unless the model has some already; a model that is run
    before it has any takes those of seed 0.
    """

    native_runtime = "keras"

    def __init__(self, options: Options, vocab_size: int) -> None:
        super().__init__(options, vocab_size)
        self._network: StatefulNetwork | None = None

    @property
    @abstractmethod
    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every weight, by the names of :meth:`StatefulNetwork.named_variables`."""

    @abstractmethod
    def make_network(self, seed: int) -> StatefulNetwork:
        """Make the network; called once, when it is first needed. Here a plugin imports what needs TensorFlow.

        Args:
            seed: decides the initial weights, alone.
        """

    @property
    def parameter_count(self) -> int:
        return sum(prod(shape) for shape in self.tensor_shapes.values())

    def fit(self, dataset: Dataset, run: TrainingRun) -> None:
        require_tensorflow()
        from textgen_keras.training.loop import TrainingLoop
        from textgen_keras.training.workers import join_workers

        workers, device = join_workers(resolve_device(run.options.device))
        if run.options.mixed_precision and not multiplies_bfloat16(device):
            raise OptionError(
                "training.mixed_precision needs a GPU, or a CPU with products in bfloat16 (AMX, AVX-512 BF16), which "
                "this one has not; leave it out"
            )
        if device == "cpu":
            keep_freed_memory()
        with placed_on(device), workers.telling_failures():
            network = self._built(run.options.seed)
            if run.options.mixed_precision:
                network.use_mixed_precision()
            TrainingLoop(network, dataset, run, workers).fit()

    def forward(
        self, ids: NDArray[np.int32], state: State, lengths: NDArray[np.int32] | None = None
    ) -> tuple[NDArray[np.float32], State]:
        self.state_spec.check(state)
        names = [tensor.name for tensor in self.state_spec.tensors]
        logits, after = self._built().predict_next(ids, [state[name] for name in names], lengths)
        return logits, State(dict(zip(names, after, strict=True)))

    def weights(self) -> Tensors:
        return self._built().tensors()

    def load_weights(self, tensors: Tensors) -> None:
        check_shapes("the weights", tensors, self.tensor_shapes)
        self._built().set_tensors(tensors)

    def keras_step(self) -> Callable[..., Any]:
        network = self._built()

        def step(ids: Any, lengths: Any, *state: Any) -> tuple[Any, ...]:
            logits, after = network(ids, list(state), lengths)
            return (logits, *after)

        return step

    def _built(self, seed: int = 0) -> StatefulNetwork:
        if self._network is None:
            require_tensorflow()
            self._network = self.make_network(seed)
        return self._network
