"""``config.pbtxt``: how Triton is told of a graph, and of the state that it keeps for a sequence.

The fields are those of ``model_config.proto`` in Triton's repository ``common``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto

#: The folder beside the versions of a model in which Triton looks for the state that a sequence begins with.
INITIAL_STATE = "initial_state"

#: The longest that a request waits for others to share its batch, in microseconds: about what a step of a small model
#: takes for a batch.
LONGEST_WAIT = 500

#: The sequences that take part in batches at the same time; more of them wait for one to end.
SEQUENCES = 1024

#: Microseconds after which the state of a sequence is dropped that was not ended.
LONGEST_IDLE = 60_000_000

#: Triton's names of the types of elements.
_TYPES: Mapping[int, str] = {
    TensorProto.FLOAT: "TYPE_FP32",
    TensorProto.INT32: "TYPE_INT32",
    TensorProto.INT64: "TYPE_INT64",
    TensorProto.BOOL: "TYPE_BOOL",
}


class _Name(str):
    """The name of a value of an enumeration, which is written without quotes."""


def explicit_config(name: str, graph: onnx.GraphProto, max_batch_size: int) -> str:
    """The configuration of a model whose state is passed in requests and answers.

    Args:
        name: of the model.
        graph: its tensors have the batch first.
        max_batch_size: the most rows of a call.
    """
    return _text(
        _common(name, max_batch_size)
        | {
            "input": [_tensor(value) for value in graph.input],
            "output": [_tensor(value) for value in graph.output],
            "dynamic_batching": {"max_queue_delay_microseconds": LONGEST_WAIT},
        }
    )


def sequence_config(
    name: str, graph: onnx.GraphProto, max_batch_size: int, initial: Mapping[str, NDArray[Any]]
) -> tuple[str, dict[str, bytes]]:
    """The configuration of a model whose state Triton keeps, and the files of its folder ``initial_state``.

    Args:
        name: of the model.
        graph: its tensors have the batch first.
        max_batch_size: the most rows of a call.
        initial: the state before the first id of a row, without the batch, by the input that takes it.
    """
    states, files = [], {}
    for value in graph.input:
        if value.name not in initial:
            continue
        output = f"present.{value.name.removeprefix('past.')}"
        tensor = _tensor(value)
        kind = {key: tensor[key] for key in ("data_type", "dims")}
        data: dict[str, Any] = {"zero_data": True}
        if initial[value.name].any():
            files[value.name] = initial[value.name].tobytes()
            data = {"data_file": value.name}
        begin = {"name": value.name, **kind, **data}
        states.append({"input_name": value.name, "output_name": output, **kind, "initial_state": begin})
    outputs = {state["output_name"] for state in states}
    config = _common(name, max_batch_size) | {
        "input": [_tensor(value) for value in graph.input if value.name not in initial],
        "output": [_tensor(value) for value in graph.output if value.name not in outputs],
        "sequence_batching": {
            "max_sequence_idle_microseconds": LONGEST_IDLE,
            "oldest": {"max_candidate_sequences": SEQUENCES, "max_queue_delay_microseconds": LONGEST_WAIT},
            "state": states,
        },
    }
    return _text(config), files


def _common(name: str, max_batch_size: int) -> dict[str, Any]:
    return {
        "name": name,
        "backend": "onnxruntime",
        "max_batch_size": max_batch_size,
        "instance_group": [{"count": 1, "kind": _Name("KIND_CPU")}],
    }


def _tensor(value: onnx.ValueInfoProto) -> dict[str, Any]:
    """An input or output; Triton has no tensors of a batch alone, so that these have one column for clients."""
    found = value.type.tensor_type
    dims = [dim.dim_value or -1 for dim in found.shape.dim][1:]
    tensor = {"name": value.name, "data_type": _Name(_TYPES[found.elem_type]), "dims": dims or [1]}
    return tensor if dims else tensor | {"reshape": {"shape": []}}


def _text(message: Mapping[str, Any]) -> str:
    """A message in the text format of protocol buffers."""
    return "".join(f"{line}\n" for line in _lines(message))


def _lines(message: Mapping[str, Any]) -> list[str]:
    lines = []
    for field, value in message.items():
        are_messages = isinstance(value, list) and value and isinstance(value[0], dict)
        for each in value if are_messages else [value]:
            if isinstance(each, dict):
                lines += [f"{field} {{", *(f"  {line}" for line in _lines(each)), "}"]
            else:
                lines.append(f"{field}: {each if isinstance(each, _Name) else json.dumps(each)}")
    return lines
