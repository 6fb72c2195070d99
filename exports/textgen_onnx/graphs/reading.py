"""Weights read from ``step.onnx``: nothing but the expected tensors is taken from a file, and each is checked."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from textgen.errors import ArtifactError
from textgen_onnx.contract import Description
from textgen_onnx.graphs.kinds import kinds_of_weights
from textgen_onnx.graphs.ngram import unpack_ngram
from textgen_onnx.graphs.parsing import parse
from textgen_onnx.graphs.weights import GraphWeights

#: The dtypes of weights; in a file they are little-endian.
_DTYPES: dict[int, str] = {
    TensorProto.FLOAT: "<f4",
    TensorProto.FLOAT16: "<f2",
    TensorProto.INT8: "<i1",
    TensorProto.UINT8: "<u1",
    TensorProto.UINT16: "<u2",
    TensorProto.UINT32: "<u4",
}


def read_weights(model: bytes, about: Description, vocab_size: int) -> GraphWeights:
    """The weights of a graph that was built from weights, such as ``step.onnx``; its nodes are ignored.

    Args:
        model: the graph, serialised.
        about: describes the weights.
        vocab_size: the number of ids.

    Raises:
        ArtifactError: unless it holds exactly these tensors besides constants, inside the file, with finite values,
            and those of an n-gram are a tree.
    """
    kinds = kinds_of_weights(about.cell, about.units, vocab_size, about.precision, about.ngram)
    try:
        graph = parse(model).graph
    except ValueError as error:
        raise ArtifactError(str(error)) from None
    found: dict[str, NDArray[Any]] = {}
    for tensor in _initializers(graph):
        if tensor.name.startswith("constant."):
            continue  # built anew, as the nodes that use it are
        if tensor.name not in kinds or tensor.name in found:
            found.clear()
            break
        found[tensor.name] = _read(tensor, *kinds[tensor.name])
    if found.keys() != kinds.keys():
        raise ArtifactError(f"the graph does not hold the weights of {about.model} over {vocab_size} ids")
    ngram = None if about.ngram is None else unpack_ngram(found, vocab_size)
    return GraphWeights(about.cell, tuple(about.units), about.precision, found, ngram)


def _initializers(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """The initializers of a graph and of the graphs inside it; protocol buffers bound how deep these lie."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _initializers(attribute.g)


def _read(tensor: TensorProto, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    kind = _DTYPES.get(tensor.data_type)
    if kind is None or np.dtype(kind) != dtype or tuple(tensor.dims) != shape:
        raise ArtifactError(f"its {tensor.name} is not {dtype} {list(shape)}")
    if len(tensor.raw_data) != prod(shape) * dtype.itemsize:
        raise ArtifactError(f"its {tensor.name} has {len(tensor.raw_data)} bytes")
    array = np.frombuffer(tensor.raw_data, kind).reshape(shape)
    if not np.isfinite(array).all():
        raise ArtifactError(f"its {tensor.name} is not finite")
    return array
