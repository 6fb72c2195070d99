"""The shapes of all tensors of a graph, found without running it, so that it can be refused if they become too large.

Each operator has a rule in :mod:`textgen_onnx.checks.rules`. Sizes must not depend on what is read: small tensors, such
as what ``Shape`` returns, are computed along the way, and an operator whose output has a size that an unknown number
says is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

from textgen import StateSpec
from textgen_onnx.checks.refused import Refused
from textgen_onnx.checks.rules import RULES, Attributes, Tensor, constant

#: The most elements that all tensors of a graph may have together, if it is run on as many ids as textgen reads at
#: once: their number of bytes is at most eight times as large.
MOST_ELEMENTS = 2**27

#: The most work of a graph in a run, and per id that it reads there, in multiplications: some seconds.
MOST_WORK, MOST_WORK_PER_ID = 10**11, 10**8

#: The work per element that an operator reads or writes, and per operator, in multiplications.
ELEMENT, OPERATOR = 10, 10**4

#: Operators that do not read the whole of their inputs.
_PICKING = ("Constant", "Gather", "GatherElements", "GatherND", "Loop", "Scan", "Shape", "Size", "Slice")


def measure(graph: onnx.GraphProto, spec: StateSpec, vocab_size: int, rows: int, steps: int) -> None:
    """Check what a graph would do with some ids, without running it.

    Args:
        graph: that reads text, with known operators only.
        spec: the state of its model.
        vocab_size: the number of ids.
        rows: of the ids.
        steps: ids per row.

    Raises:
        Refused: if its tensors become too large, it computes for too long, a loop does not run once per id, or it
            returns other shapes than those of the model.
    """
    state = {tensor.name: (rows, *tensor.shape) for tensor in spec.tensors}
    ends = {"ids": (rows, steps), "lengths": (rows,)} | {f"past.{name}": shape for name, shape in state.items()}
    results = {"logits": (rows, steps, vocab_size)} | {f"present.{name}": shape for name, shape in state.items()}
    taken = {value.name: ends.get(value.name) for value in graph.input}
    if taken != ends or [value.name for value in graph.output] != list(results):
        raise Refused("it has other inputs or outputs than the model")
    with np.errstate(all="ignore"):
        found = _Measuring(rows, steps).body(graph, {}, {name: Tensor(shape) for name, shape in ends.items()})
    for tensor, (name, shape) in zip(found, results.items(), strict=True):
        if tensor.shape != shape:
            raise Refused(f"its output {name} has the shape {list(tensor.shape)}, and the model's is {list(shape)}")


class _Measuring:
    """The shapes in a graph for some rows and steps."""

    def __init__(self, rows: int, steps: int) -> None:
        self._rows, self._steps = rows, steps
        self._elements = 0
        self._work, self._times = 0, 1

    def body(self, graph: onnx.GraphProto, outer: Mapping[str, Tensor], taken: Mapping[str, Tensor]) -> list[Tensor]:
        """The outputs of a graph, given what it sees of the graph around it, and its inputs."""
        known = {**outer, "": Tensor(())}
        for tensor in graph.initializer:
            known[tensor.name] = constant(tensor)
        known.update(taken)
        for node in graph.node:
            for name in node.input:
                if name not in known:
                    raise Refused(f"it uses {name[:50]}, which nothing gives")
            inputs = [known[name] for name in node.input]
            attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            try:
                if node.op_type in ("Loop", "Scan"):
                    loop = self._loop if node.op_type == "Loop" else self._scan
                    outputs: Sequence[Tensor] = loop(inputs, attributes, known)
                else:
                    outputs = RULES[node.op_type](inputs, attributes, len(node.output))
            except (ArithmeticError, IndexError, KeyError, TypeError, ValueError) as error:
                raise Refused(f"the shapes of a {node.op_type} do not fit: {error}"[:200]) from None
            if len(outputs) < len(node.output):
                raise Refused(f"a {node.op_type} has {len(node.output)} outputs")
            for name, tensor in zip(node.output, outputs, strict=False):
                self._count(node.op_type, tensor)
                known[name] = tensor
            self._count_work(node.op_type, inputs, attributes, outputs)
        missing = [value.name for value in graph.output if value.name not in known]
        if missing:
            raise Refused(f"nothing gives its output {missing[0][:50]}")
        return [known[value.name] for value in graph.output]

    def _count(self, op: str, tensor: Tensor) -> None:
        if len(tensor.shape) > 8 or any(size < 0 for size in tensor.shape):
            raise Refused(f"a {op} gives a tensor of the shape {list(tensor.shape)[:9]}")
        self._elements += tensor.size
        if self._elements > MOST_ELEMENTS:
            raise Refused(
                f"to read or write {self._steps:,} ids in {self._rows:,} rows, its tensors have more than "
                f"{MOST_ELEMENTS:,} elements, at a {op}"
            )

    def _count_work(self, op: str, inputs: Sequence[Tensor], attributes: Attributes, outputs: Sequence[Tensor]) -> None:
        read = 0 if op in _PICKING else sum(each.size for each in inputs)
        work = OPERATOR + ELEMENT * max(read, sum(each.size for each in outputs))
        if op in ("MatMul", "MatMulInteger", "Gemm"):
            work += outputs[0].size * inputs[0].shape[0 if attributes.get("transA") else -1]
        elif op in ("GRU", "LSTM", "RNN"):
            steps, rows, _ = inputs[0].shape
            work += steps * (OPERATOR + rows * (inputs[1].size + inputs[2].size))
        self._work += self._times * work
        if self._work > MOST_WORK + MOST_WORK_PER_ID * self._rows * self._steps:
            raise Refused(
                f"to read or write {self._steps:,} ids in {self._rows:,} rows, it computes for too long, at a {op}"
            )

    def _repeated(self, body: onnx.GraphProto, outer: Mapping[str, Tensor], taken: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of the body of a loop, which runs once per id."""
        self._times = self._steps
        found = self.body(body, outer, self._named(body, taken))
        self._times = 1
        return found

    def _loop(self, inputs: Sequence[Tensor], attributes: Attributes, outer: Mapping[str, Tensor]) -> list[Tensor]:
        trips, _, *carried = inputs
        if trips.values is None or int(trips.values.reshape(-1)[0]) != self._steps:
            raise Refused("it has a loop that does not run once per id")
        body = attributes["body"]
        taken = [Tensor(()), Tensor(()), *(Tensor(each.shape) for each in carried)]
        found = self._repeated(body, outer, taken)[1:]
        return self._results(carried, found, self._steps)

    def _scan(self, inputs: Sequence[Tensor], attributes: Attributes, outer: Mapping[str, Tensor]) -> list[Tensor]:
        count = int(attributes["num_scan_inputs"])
        if any(name.startswith("scan_") and any(attributes[name]) for name in attributes):
            raise Refused("it has a Scan along another axis than the first, or backwards")
        carried, sequences = inputs[: len(inputs) - count], inputs[len(inputs) - count :]
        if not sequences or any(each.shape[0] != self._steps for each in sequences):
            raise Refused("it has a loop that does not run once per id")
        body = attributes["body"]
        taken = [Tensor(each.shape) for each in carried] + [Tensor(each.shape[1:]) for each in sequences]
        return self._results(carried, self._repeated(body, outer, taken), self._steps)

    @staticmethod
    def _named(body: onnx.GraphProto, taken: Sequence[Tensor]) -> dict[str, Tensor]:
        return {value.name: tensor for value, tensor in zip(body.input, taken, strict=True)}

    @staticmethod
    def _results(carried: Sequence[Tensor], found: Sequence[Tensor], steps: int) -> list[Tensor]:
        for before, after in zip(carried, found, strict=False):
            if before.shape != after.shape:
                raise Refused(f"its loop changes the shape of what it carries, {list(before.shape)}")
        stacked = [Tensor((steps, *each.shape)) for each in found[len(carried) :]]
        return [Tensor(each.shape) for each in carried] + stacked
