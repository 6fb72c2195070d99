"""An ONNX graph for the code that a sampler emits, and ONNX Runtime to run it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class OnnxGraph:
    """A :class:`textgen.GraphBuilder` whose graph can be run.

    Args:
        vocab_size: the number of ids.

    Example:
        >>> graph = OnnxGraph(vocab_size=3)
        >>> doubled = graph.add("Mul", "logits", graph.constant(np.float32(2)))
        >>> graph.run(doubled, {"logits": np.float32([[1, 2, 3]])})
        array([[2., 4., 6.]], dtype=float32)
    """

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self._nodes: list[tuple[str, tuple[str, ...], tuple[str, ...], dict[str, Any]]] = []
        self._constants: dict[str, NDArray[Any]] = {}

    def constant(self, value: Any) -> str:
        """See :class:`textgen.GraphBuilder`."""
        name = f"constant.{len(self._constants)}"
        self._constants[name] = np.asarray(value)
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """See :class:`textgen.GraphBuilder`."""
        return self.add_multiple(op, 1, *inputs, **attributes)[0]

    def add_multiple(self, op: str, outputs: int, *inputs: str, **attributes: Any) -> tuple[str, ...]:
        """See :class:`textgen.GraphBuilder`."""
        names = tuple(f"node.{len(self._nodes)}.{index}" for index in range(outputs))
        self._nodes.append((op, inputs, names, attributes))
        return names

    def run(self, output: str, feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        """The value of an output, given arrays ``[batch, ...]`` for the inputs."""
        import onnx
        import onnxruntime
        from onnx import helper, numpy_helper

        inputs = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), ["batch", *array.shape[1:]]
            )
            for name, array in feeds.items()
        ]
        graph = helper.make_graph(
            [helper.make_node(op, ins, outs, **attributes) for op, ins, outs, attributes in self._nodes],
            "sampler",
            inputs,
            [onnx.ValueInfoProto(name=output)],
            [numpy_helper.from_array(array, name) for name, array in self._constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        used = {each.name for each in session.get_inputs()}
        result: NDArray[Any] = session.run(None, {name: array for name, array in feeds.items() if name in used})[0]
        return result
