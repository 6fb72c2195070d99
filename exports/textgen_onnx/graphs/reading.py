"""Weights read from ``step.onnx``: nothing but the expected tensors is taken from a file, and each is checked."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from textgen import Cell
from textgen.errors import ArtifactError
from textgen_onnx.contract import Precision
from textgen_onnx.graphs.kinds import kinds_of_weights
from textgen_onnx.graphs.parsing import parse
from textgen_onnx.graphs.weights import GraphWeights

#: The dtypes of weights; in a file they are little-endian.
_DTYPES: dict[int, str] = {TensorProto.FLOAT: "<f4", TensorProto.FLOAT16: "<f2", TensorProto.INT8: "<i1"}


def read_weights(
    model: bytes, cell: Cell, units: tuple[int, ...], vocab_size: int, precision: Precision
) -> GraphWeights:
    """The weights of a graph that was built from weights, such as ``step.onnx``; its nodes are ignored.

    Raises:
        ArtifactError: unless it holds exactly these tensors besides constants, inside the file, with finite values.
    """
    kinds = kinds_of_weights(cell, units, vocab_size, precision)
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
        raise ArtifactError(f"the graph does not hold the weights of a {cell} of {units} units over {vocab_size} ids")
    return GraphWeights(cell, units, precision, found)


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
