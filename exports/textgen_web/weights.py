"""The weights as ``model.safetensors`` has them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from textgen import ContextTree, RecurrentNetwork

Precision = Literal["fp32", "fp16", "int8"]
Tensors = dict[str, NDArray[Any]]

#: The largest weight of an int8 kernel, and the quantum of the outputs of layers that it is multiplied with. Both are
#: those of the exporter ``onnx``, so that an int8 export writes nearly always what an ONNX export writes.
LARGEST, QUANTUM = 63, np.float32(1 / 127)


def web_weights(network: RecurrentNetwork | ContextTree, precision: Precision) -> Tensors:
    """The tensors of a network, or of an n-gram alone.

    They have the names of ``weights.safetensors``. The head is multiplied by its power; the embedding by the kernel of
    the first layer, whose input is then one-hot, if that takes less room. The kernels of products with outputs of
    layers have the precision; an int8 kernel is the pair ``{name}.quantized`` (int8) and ``{name}.scale`` (float32, per
    column). The input, the biases and an int8 export's head stay float32. The arrays of an n-gram have the smallest
    dtypes that hold them; ``ngram.power`` is ``[1]`` float32.
    """
    if isinstance(network, ContextTree):
        return _ngram(network, 1.0)
    tensors = {name: array for name, array in network.tensors().items() if not name.startswith(ContextTree.prefix)}
    embedding, kernel = network.embedding, network.layers[0].kernel
    if embedding is not None and len(embedding) * kernel.shape[1] <= embedding.size + kernel.size:
        tensors["layers.0.kernel"] = tensors.pop("embedding") @ kernel
    tensors["head.kernel"], tensors["head.bias"] = network.head()
    for name in [name for name in tensors if name.endswith("kernel") and name != "layers.0.kernel"]:
        if precision == "fp16":
            tensors[name] = tensors[name].astype(np.float16)
        elif precision == "int8" and name != "head.kernel":
            tensors |= _quantized(name, tensors.pop(name))
    if network.ngram is not None:
        tensors |= _ngram(network.ngram, float(network.powers[1]))
    return {name: np.ascontiguousarray(array) for name, array in tensors.items()}


def _quantized(name: str, kernel: NDArray[np.float32]) -> Tensors:
    scale = np.maximum(np.abs(kernel).max(axis=0), np.finfo(np.float32).tiny) / LARGEST
    return {
        f"{name}.quantized": np.rint(kernel / scale).astype(np.int8),
        f"{name}.scale": (scale * QUANTUM).astype(np.float32),
    }


def _ngram(tree: ContextTree, power: float) -> Tensors:
    tensors = {ContextTree.prefix + name: _smallest(array) for name, array in tree.tensors().items()}
    return tensors | {f"{ContextTree.prefix}power": np.array([power], np.float32)}


def _smallest(array: NDArray[Any]) -> NDArray[Any]:
    """An array of the smallest dtype that holds its numbers exactly, of those that the engine reads."""
    dtypes = (np.float16,) if array.dtype.kind == "f" else (np.uint8, np.int8, np.uint16, np.int16)
    return next((small for small in map(array.astype, dtypes) if np.array_equal(small, array)), array)
