"""``step.onnx`` of any model that runs on TensorFlow, through tf2onnx. Importing this imports TensorFlow."""

from __future__ import annotations

import importlib
from typing import Any

import onnx
from onnx import TensorProto, helper

from textgen import Model
from textgen.errors import UnavailableError, UnsupportedModelError
from textgen_onnx.contract import IR_VERSION, OPSET

_KINDS = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32, "int64": TensorProto.INT64}


def convert_step(model: Model) -> onnx.ModelProto:
    """Convert a model's step function to a graph with the signature of :func:`textgen_onnx.graphs.step.build_step`.

    Args:
        model: with weights.

    Raises:
        UnsupportedModelError: if the model has no step function, or tf2onnx cannot convert it.
        UnavailableError: if tf2onnx or TensorFlow is not installed.
    """
    step = getattr(model, "keras_step", lambda: None)()
    if step is None:
        raise UnsupportedModelError("this model has no Keras step function; it cannot go through tf2onnx")
    try:
        tensorflow: Any = importlib.import_module("tensorflow")
        tf2onnx: Any = importlib.import_module("tf2onnx")
    except ImportError:
        raise UnavailableError('--via tf2onnx needs TensorFlow: pip install "textgen-rnn[train]"') from None
    tensors = model.state_spec.tensors
    signature = [
        tensorflow.TensorSpec([None, None], tensorflow.int64, name="ids"),
        tensorflow.TensorSpec([None], tensorflow.int64, name="lengths"),
        *(tensorflow.TensorSpec([None, *t.shape], t.dtype, name=f"past_{i}") for i, t in enumerate(tensors)),
    ]

    def read(ids: Any, lengths: Any, *past: Any) -> Any:
        return step(tensorflow.cast(ids, tensorflow.int32), tensorflow.cast(lengths, tensorflow.int32), *past)

    try:
        converted, _ = tf2onnx.convert.from_function(
            tensorflow.function(read, input_signature=signature), input_signature=signature, opset=OPSET
        )
    except Exception as error:  # tf2onnx has no error class of its own
        reason = " ".join(str(error).split())[:200]
        raise UnsupportedModelError(f"tf2onnx cannot convert this model: {type(error).__name__}: {reason}") from error
    return _with_names(converted, model)


def _with_names(converted: onnx.ModelProto, model: Model) -> onnx.ModelProto:
    """The graph with the names of inputs and outputs that the runtime expects; tf2onnx chooses others."""
    tensors = model.state_spec.tensors
    ends: list[tuple[str, int, tuple[str | int, ...]]] = [
        ("ids", TensorProto.INT64, ("batch", "sequence")),
        ("lengths", TensorProto.INT64, ("batch",)),
    ]
    ends += [(f"past.{t.name}", _KINDS[t.dtype], ("batch", *t.shape)) for t in tensors]
    results: list[tuple[str, int, tuple[str | int, ...]]] = [
        ("logits", TensorProto.FLOAT, ("batch", "sequence", model.vocab_size))
    ]
    results += [(f"present.{t.name}", _KINDS[t.dtype], ("batch", *t.shape)) for t in tensors]
    old = converted.graph
    given = {value.name: value for value in old.input}
    order = ["ids", "lengths", *(f"past_{i}" for i in range(len(tensors)))]
    missing = [name for name in order if name not in given]
    if missing or len(old.output) != len(results):
        raise UnsupportedModelError(f"tf2onnx changed the step function's signature: {missing} are missing")
    inputs = [helper.make_node("Identity", [new[0]], [name]) for new, name in zip(ends, order, strict=True)]
    outputs = [
        helper.make_node("Identity", [value.name], [new[0]]) for value, new in zip(old.output, results, strict=True)
    ]
    renamed = {name: f"inner.{name}" for name in order if name in {"ids", "lengths"}}
    body = [*inputs, *old.node, *outputs]
    for node in body[len(inputs) : len(body) - len(outputs)]:
        node.input[:] = [renamed.get(name, name) for name in node.input]
    for node in inputs:
        node.output[:] = [renamed.get(name, name) for name in node.output]
    graph = helper.make_graph(
        body,
        "textgen",
        [helper.make_tensor_value_info(*end) for end in ends],
        [helper.make_tensor_value_info(*end) for end in results],
        initializer=old.initializer,
    )
    model_proto = helper.make_model(
        graph, producer_name="textgen", opset_imports=list(converted.opset_import), ir_version=IR_VERSION
    )
    onnx.checker.check_model(model_proto)
    return model_proto
