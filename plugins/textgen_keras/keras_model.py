"""The base class of models that train with Keras, public for third parties. Nothing heavy is imported here."""

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
from textgen_keras.libraries import require_tensorflow, usual_settings
from textgen_keras.shapes import check_shapes
from textgen_keras.training.memory import keep_freed_memory
from textgen_keras.training.options import GradientOptions

if TYPE_CHECKING:
    from textgen_keras.mixture import Mixture
    from textgen_keras.stateful_network import StatefulNetwork


class KerasModel(Model):
    """A model whose network is written in Keras. This class adds training, the runtime ``keras`` and weight files.

    A subclass describes its state (:attr:`state_spec`) and its weights' shapes (:attr:`tensor_shapes`) without
    TensorFlow, and makes the network (:meth:`make_network`). It can then be exported with ``--via tf2onnx``.

    :meth:`fit` draws the weights from the run's seed, unless the model already has weights. A model that runs before
    it has any draws them from seed 0.
    """

    TrainingOptions = GradientOptions
    native_runtime = "keras"

    def __init__(self, options: Options, vocab_size: int) -> None:
        super().__init__(options, vocab_size)
        self._network: StatefulNetwork | None = None
        self._loaded: Tensors | None = None

    @property
    @abstractmethod
    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every weight, by the names of :meth:`StatefulNetwork.named_variables`."""

    @abstractmethod
    def make_network(self, seed: int) -> StatefulNetwork:
        """Make the network; called once, on first use. Import whatever needs TensorFlow here.

        Args:
            seed: the only source of the initial weights.
        """

    @property
    def parameter_count(self) -> int:
        return sum(prod(shape) for shape in self.tensor_shapes.values())

    def fit(self, dataset: Dataset, run: TrainingRun) -> None:
        assert isinstance(run.options, GradientOptions)
        require_tensorflow()
        from textgen_keras.training.loop import TrainingLoop
        from textgen_keras.training.workers import join_workers

        workers, device = join_workers(resolve_device(run.options.device))
        if run.options.mixed_precision and not multiplies_bfloat16(device):
            raise OptionError(
                "training.mixed_precision needs a GPU, or a CPU with bfloat16 products (AMX, AVX-512 BF16), which "
                "this CPU lacks; drop the option"
            )
        if device == "cpu":
            keep_freed_memory()
        with usual_settings(), placed_on(device), workers.reporting_failures():
            network = self._built(run.options.seed)
            if run.options.mixed_precision:
                network.use_mixed_precision()
            TrainingLoop(network, dataset, run, workers, self.mixture_for(dataset)).fit()

    def mixture_for(self, dataset: Dataset) -> Mixture | None:
        """The n-gram that the network is judged together with; by default there is none."""
        return None

    def forward(
        self, ids: NDArray[np.int32], state: State, lengths: NDArray[np.int32] | None = None
    ) -> tuple[NDArray[np.float32], State]:
        require_tensorflow()  # which a fork may have lost
        network = self._built()
        network.state_spec.check(state)
        names = [tensor.name for tensor in network.state_spec.tensors]
        logits, after = network.predict_next(ids, [state[name] for name in names], lengths)
        return logits, State(dict(zip(names, after, strict=True)))

    def weights(self) -> Tensors:
        return self._built().tensors()

    def load_weights(self, tensors: Tensors) -> None:
        check_shapes("the weights", tensors, self.tensor_shapes)
        require_tensorflow()
        if self._network is None:
            self._loaded = tensors  # the network is made where it is used, on the device of the caller
        else:
            self._network.set_tensors(tensors)

    def keras_step(self) -> Callable[..., Any] | None:
        """Returns the forward pass as a function of TensorFlow tensors, for export.

        It takes ids ``[batch, time]`` int32, lengths ``[batch]`` int32 and the state's tensors in the order of
        :attr:`state_spec`, and returns a tuple: logits ``[batch, time, vocab]`` float32, then the state's tensors.
        """
        network = self._built()

        def step(ids: Any, lengths: Any, *state: Any) -> tuple[Any, ...]:
            logits, after = network(ids, list(state), lengths)
            return (logits, *after)

        return step

    def _built(self, seed: int = 0) -> StatefulNetwork:
        if self._network is None:
            require_tensorflow()
            with usual_settings():
                self._network = self.make_network(seed)
                if self._loaded is not None:
                    self._network.set_tensors(self._loaded)
                    self._loaded = None
        return self._network
