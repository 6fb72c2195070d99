"""The weights as the graphs hold them: an input table, kernels in a chosen precision, gates in the graphs' order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen import GATES, Cell, ContextTree, RecurrentNetwork, StateSpec, recurrent_state_spec
from textgen.errors import UnsupportedModelError
from textgen_onnx.contract import Precision
from textgen_onnx.graphs.builder import FLOAT, FLOAT16, Graph
from textgen_onnx.graphs.kinds import parts_of
from textgen_onnx.graphs.ngram import pack_ngram

#: The largest size in bytes of a tensor inside an ONNX file, which is a message of protocol buffers.
LARGEST_TENSOR = 2**31 - 1

#: The largest weight of an int8 kernel. It has seven bits: CPUs without VNNI add the products of two unsigned-by-signed
#: pairs in 16 bits, in which 2 * 255 * 63 fits, but 2 * 255 * 127 saturates.
LARGEST_INT8 = 63

#: The inputs of int8 products are outputs of layers, which lie in [-1, 1]. Their scale and zero point are fixed, so
#: that a row's result depends neither on its neighbours nor on its past, as it would with a scale taken from the data.
OUTPUT_SCALE = np.float32(1 / 127)
OUTPUT_ZERO = np.uint8(128)


@dataclass(frozen=True)
class GraphWeights:
    """Weights by their names in the graphs.

    Attributes:
        cell: of all layers; ``None`` for an n-gram alone.
        units: of each layer; none for an n-gram alone.
        precision: of the products with kernels and head.
        tensors: ``input_table`` ``[V, G * U]``; for layer i ``layers.{i}.recurrent_kernel`` ``[U, G * U]``, for a GRU
            ``layers.{i}.recurrent_bias`` ``[3 * U]``, and from the second layer on ``layers.{i}.kernel`` and
            ``layers.{i}.bias``; ``head.kernel`` ``[U, V]`` and ``head.bias`` ``[V]``. A tensor with columns of gates is
            cut into one tensor per part of :attr:`parts`. An int8 kernel is the pair ``{name}.quantized`` (int8) and
            ``{name}.scale`` (per column, times :data:`OUTPUT_SCALE`). Those of an n-gram are described at
            :func:`~textgen_onnx.graphs.ngram.pack_ngram`.
        ngram: mixed into the network, or the whole model if there are no layers.
    """

    cell: Cell | None
    units: tuple[int, ...]
    precision: Precision
    tensors: dict[str, NDArray[Any]]
    ngram: ContextTree | None = None

    @property
    def parts(self) -> dict[str, int]:
        """The parts that columns of gates are cut into: the ending of the tensor's name, and the number of gates.

        A GRU's candidate has a product of its own: then the recurrent bias of the gates can be added to the input's,
        and no product has to be split, which makes a batch of 64 1.25 times as fast. In int8 the second rounding of
        the state would cost more than that.
        """
        return {} if self.cell is None else parts_of(self.cell, self.precision)

    @property
    def vocab_size(self) -> int:
        """The number V of ids."""
        return self.ngram.vocab_size if self.ngram else int(self.tensors["head.bias"].shape[0])

    @property
    def state_spec(self) -> StateSpec:
        """The state of the model."""
        return recurrent_state_spec(self.cell or "gru", list(self.units), has_ngram=self.ngram is not None)

    @classmethod
    def from_network(cls, network: RecurrentNetwork | ContextTree, precision: Precision = "fp32") -> GraphWeights:
        """Fold, reorder and convert the weights of a network, or of an n-gram alone.

        Raises:
            UnsupportedModelError: if the input table is too large for an ONNX file.
        """
        if isinstance(network, ContextTree):
            return cls(None, (), precision, pack_ngram(network), network)
        vocab = network.head_bias.size
        table = 4 * vocab * GATES[network.layers[0].cell] * network.layers[0].units
        if table > LARGEST_TENSOR:
            raise UnsupportedModelError(
                f"a vocabulary of {vocab:,} ids is too large for this model's ONNX export: "
                f"its table would have {table / 2**30:.1f} GiB, and the limit is 2 GiB"
            )
        cell = network.layers[0].cell
        parts = parts_of(cell, precision)
        tensors: dict[str, NDArray[Any]] = {}
        kernels: dict[str, NDArray[np.float32]] = {}
        for index, layer in enumerate(network.layers):
            name = f"layers.{index}"
            kernels |= _cut(f"{name}.recurrent_kernel", _gates(cell, layer.recurrent_kernel), parts)
            bias = layer.bias[0] if cell == "gru" else layer.bias
            added = np.zeros_like(bias)
            if cell == "gru":
                recurrent = _cut(f"{name}.recurrent_bias", layer.bias[1], parts)
                if len(parts) > 1:
                    added[: 2 * layer.units] = recurrent.pop(f"{name}.recurrent_bias.gates")
                tensors |= recurrent
            if index:
                kernels |= _cut(f"{name}.kernel", _gates(cell, layer.kernel), parts)
                tensors |= _cut(f"{name}.bias", _gates(cell, bias + added), parts)
            else:
                tensors |= _cut("input_table", _gates(cell, network.input_table() + added), parts)
        head_kernel, tensors["head.bias"] = network.head()
        if precision == "int8":
            # The head is small, and rounding it would change the logits directly.
            tensors["head.kernel"] = head_kernel
            for name, kernel in kernels.items():
                tensors |= _quantized(name, kernel)
        else:
            kernels["head.kernel"] = head_kernel
            kind = np.float16 if precision == "fp16" else np.float32
            tensors |= {name: kernel.astype(kind) for name, kernel in kernels.items()}
        if network.ngram is not None:
            tensors |= pack_ngram(network.ngram, float(network.powers[1]))
        return cls(cell, tuple(layer.units for layer in network.layers), precision, tensors, network.ngram)

    def by_layer(self, state: list[str]) -> list[list[str]]:
        """The tensors of a state by layer; that of an n-gram, the last one, is left out."""
        parts = 2 if self.cell == "lstm" else 1
        return [state[layer * parts : (layer + 1) * parts] for layer in range(len(self.units))]

    def logits(self, graph: Graph, hidden: str, addend: str | None) -> str:
        """The product of the last layer's output ``hidden`` and the head, and a tensor; without layers, the latter."""
        if self.units:
            return self.product(graph, hidden, "head.kernel", addend)
        assert addend is not None  # the n-gram's
        return addend

    def project(self, graph: Graph, values: str, layer: int) -> list[str]:
        """A layer's input times its kernel, with the bias, in :attr:`parts`.

        Args:
            graph: the graph to add nodes to.
            values: the outputs of the layer below; for the first layer, ids.
            layer: the number of the layer.

        Returns:
            The names of the products.
        """
        if layer == 0:
            return [graph.add("Gather", f"input_table{part}", values) for part in self.parts]
        name = f"layers.{layer}"
        return [self.product(graph, values, f"{name}.kernel{part}", f"{name}.bias{part}") for part in self.parts]

    def product(self, graph: Graph, values: str, name: str, addend: str | None = None) -> str:
        """Multiply ``values [..., U]`` by a kernel, and add a tensor.

        Args:
            graph: the graph to add nodes to.
            values: a layer's output, in [-1, 1].
            name: of the kernel.
            addend: name of a tensor that broadcasts to the product, or ``None``.

        Returns:
            The name of the result.
        """
        if f"{name}.quantized" in self.tensors:
            scale, zero = graph.constant(OUTPUT_SCALE), graph.constant(OUTPUT_ZERO)
            quantized = graph.add("QuantizeLinear", values, scale, zero)
            whole = graph.add("MatMulInteger", quantized, f"{name}.quantized", zero)
            product = graph.add("Mul", graph.add("Cast", whole, to=FLOAT), f"{name}.scale")
        elif self.tensors[name].dtype == np.float16:
            half = graph.add("MatMul", graph.add("Cast", values, to=FLOAT16), name)
            product = graph.add("Cast", half, to=FLOAT)
        else:
            product = graph.add("MatMul", values, name)
        return product if addend is None else graph.add("Add", product, addend)


def _cut(name: str, columns: NDArray[np.float32], parts: dict[str, int]) -> dict[str, NDArray[np.float32]]:
    """Columns of gates cut into parts, by the names of the tensors."""
    units = columns.shape[-1] // sum(parts.values())
    ends = np.cumsum([gates * units for gates in parts.values()])[:-1]
    cuts = np.split(columns, ends, axis=-1)
    return {name + part: np.ascontiguousarray(cut) for part, cut in zip(parts, cuts, strict=True)}


def _gates(cell: Cell, columns: NDArray[np.float32]) -> NDArray[np.float32]:
    """Columns of gates in the graphs' order: LSTM i, f, o, c, so that the sigmoids lie side by side; GRU as it is."""
    if cell == "gru":
        return columns
    i, f, c, o = np.split(columns, GATES[cell], axis=-1)
    return np.concatenate([i, f, o, c], axis=-1)


def _quantized(name: str, kernel: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    scale = np.maximum(np.abs(kernel).max(axis=0), np.finfo(np.float32).tiny) / LARGEST_INT8
    return {
        f"{name}.quantized": np.rint(kernel / scale).astype(np.int8),
        f"{name}.scale": (scale * OUTPUT_SCALE).astype(np.float32),
    }
