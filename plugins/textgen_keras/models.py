"""The models ``gru`` and ``lstm``: input, recurrent layers, dropout, dense head. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from textgen import (
    GATES,
    POWERS,
    Cell,
    ContextTree,
    Dataset,
    RecurrentNetwork,
    State,
    StateSpec,
    Tensors,
    count_text,
    make_tree,
    ngram_tensors,
    ngram_weights,
    recurrent_state_spec,
)
from textgen.errors import ArtifactError
from textgen_keras.keras_model import KerasModel
from textgen_keras.network.options import RecurrentOptions
from textgen_keras.shapes import check_shapes

if TYPE_CHECKING:
    from textgen_keras.mixture import Mixture
    from textgen_keras.network.recurrent import KerasNetwork

#: The length of the n-grams that are counted.
ORDER = 8

#: The options that suit corpora below a number of characters; docs/training.md says what was tried. A small text is
#: soon memorised by a network that drops nothing, and an n-gram knows its words.
_SUGGESTED: tuple[tuple[int, dict[str, Any]], ...] = (
    (50_000, {"units": 256, "dropout": 0.5, "weight_dropout": 0.3, "ngram": 90_000}),
    (500_000, {"units": 384, "dropout": 0.5, "weight_dropout": 0.4, "ngram": 90_000}),
    (5_000_000, {"units": 768, "dropout": 0.5, "weight_dropout": 0.2, "ngram": 90_000}),
)


class RecurrentModel(KerasModel):
    """Input (embedding or one-hot) → recurrent layers, each followed by dropout → dense logits."""

    Options = RecurrentOptions
    adjustable = ("dropout", "weight_dropout", "input_weight_dropout", "ngram_powers")

    #: The kind of the recurrent layers.
    cell: ClassVar[Cell]

    options: RecurrentOptions

    @classmethod
    def suggested_options(cls, characters: int, labels: int = 0) -> dict[str, Any]:
        for below, options in _SUGGESTED:
            if characters < below:
                # An n-gram soon forgets the label that a text begins with.
                return options | {"ngram": 0} if labels else options
        return {}

    def __init__(self, options: RecurrentOptions, vocab_size: int) -> None:
        super().__init__(options, vocab_size)
        # The n-gram that is mixed in if ``options.ngram`` is above 0, and the powers: as loaded, or as being fitted.
        self._loaded_ngram = ContextTree.of_nothing(vocab_size), np.ones(2, np.float32)
        self._mixture: Mixture | None = None

    @property
    def state_spec(self) -> StateSpec:
        units = [self.options.units] * self.options.layers
        return recurrent_state_spec(self.cell, units, has_ngram=self._has_ngram)

    @property
    def _tree(self) -> ContextTree:
        return self._loaded_ngram[0] if self._mixture is None else self._mixture.tree

    @property
    def _powers(self) -> NDArray[np.float32]:
        return self._loaded_ngram[1] if self._mixture is None else self._mixture.powers

    @property
    def _has_ngram(self) -> bool:
        return self.options.ngram > 0

    @property
    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every trained weight, by the names of :meth:`textgen.RecurrentNetwork.tensors`."""
        options, vocab, columns = self.options, self.vocab_size, GATES[self.cell] * self.options.units
        shapes: dict[str, tuple[int, ...]] = {}
        width = options.embedding_width or vocab
        if options.embedding_width is not None:
            shapes["embedding"] = (vocab, width)
        for index in range(options.layers):
            shapes[f"layers.{index}.kernel"] = (width, columns)
            shapes[f"layers.{index}.recurrent_kernel"] = (options.units, columns)
            shapes[f"layers.{index}.bias"] = (2, columns) if self.cell == "gru" else (columns,)
            width = options.units
        return shapes | {"head.kernel": (width, vocab), "head.bias": (vocab,)}

    @property
    def parameter_count(self) -> int:
        return super().parameter_count - self.vocab_size * self.options.units * self.options.tie_weights

    def grow_weights(self, tensors: Tensors, old_ids: NDArray[np.int32]) -> Tensors:
        grown = RecurrentNetwork.from_tensors(self.cell, tensors).with_ids(old_ids).tensors()
        if self._has_ngram and len(grown[f"{ContextTree.prefix}shares"]) > ContextTree.most_contexts(self.vocab_size):
            # Larger than a tree of this vocabulary may be; the text that is trained on next is counted anew.
            grown |= ngram_weights(ContextTree.of_nothing(self.vocab_size), grown[POWERS])
        if self.options.tie_weights:
            grown["embedding"] = np.ascontiguousarray(grown["head.kernel"].T)
        return grown

    def describe(self, weights: Tensors) -> RecurrentNetwork:
        self._check_weights(weights)
        return RecurrentNetwork.from_tensors(self.cell, weights)

    def weights(self) -> Tensors:
        ngram = ngram_weights(self._tree, self._powers) if self._has_ngram else {}
        return {**super().weights(), **ngram}

    def load_weights(self, tensors: Tensors) -> None:
        trained = self._check_weights(tensors)
        if self._has_ngram:
            tree, powers = ngram_tensors(tensors)
            self._loaded_ngram, self._mixture = (ContextTree.from_tensors(tree, self.vocab_size), powers), None
        super().load_weights(trained)

    def _check_weights(self, weights: Tensors) -> Tensors:
        """The trained ones among weights, which are checked; not the n-gram."""
        if self._has_ngram:
            if not ngram_tensors(weights)[0]:
                raise ArtifactError("the weights do not fit the model's options: they have no n-gram")
            weights = {name: array for name, array in weights.items() if not name.startswith(ContextTree.prefix)}
        check_shapes("the weights", weights, self.tensor_shapes)
        return weights

    def fitted_options(self, weights: Tensors) -> dict[str, Any]:
        return {"ngram_powers": ngram_tensors(weights)[1].tolist()} if self._has_ngram else {}

    def mixture_for(self, dataset: Dataset) -> Mixture | None:
        if not self._has_ngram:
            return None
        from textgen_keras.mixture import Mixture

        contexts = min(self.options.ngram, ContextTree.most_contexts(self.vocab_size))
        tree = make_tree(count_text(dataset, ORDER, self.vocab_size), contexts).rounded()
        self._mixture = Mixture(tree, dataset, self.options.ngram_powers)
        return self._mixture

    def forward(
        self, ids: NDArray[np.int32], state: State, lengths: NDArray[np.int32] | None = None
    ) -> tuple[NDArray[np.float32], State]:
        if not self._has_ngram:
            return super().forward(ids, state, lengths)
        self.state_spec.check(state)
        contexts, context = self._tree.advance(ids, state["context"], lengths)
        logits, after = super().forward(ids, State({name: state[name] for name in state if name != "context"}), lengths)
        power, ngram_power = self._powers
        logits = power * logits + ngram_power * self._tree.logits[contexts]
        return logits, State({**after, "context": context})

    def keras_step(self) -> Callable[..., Any] | None:
        """As in :class:`KerasModel`; ``None`` if there is an n-gram, which is not part of the Keras network."""
        return None if self._has_ngram else super().keras_step()

    def make_network(self, seed: int) -> KerasNetwork:
        from textgen_keras.network.recurrent import KerasNetwork

        return KerasNetwork(self.cell, self.options, self.vocab_size, seed=seed)


class GRU(RecurrentModel):
    """Gated recurrent units (Cho et al. 2014), the reset gate after the recurrent product, as in Keras."""

    cell = "gru"


class LSTM(RecurrentModel):
    """Long short-term memory (Hochreiter & Schmidhuber 1997), as in Keras."""

    cell = "lstm"
