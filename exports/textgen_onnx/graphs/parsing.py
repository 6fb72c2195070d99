"""A stranger's graph, parsed: bounded before it is, and complete."""

from __future__ import annotations

from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto

from textgen_onnx.graphs.wire import check_structure


def parse(content: bytes) -> onnx.ModelProto:
    """A model, all of whose tensors are in it.

    Args:
        content: the model, serialised.

    Raises:
        ValueError: if it is not a model, is too large besides its tensors, has text that is not UTF-8, or a tensor in
            any part of it lies in another file; the message says so of "it".
    """
    check_structure(content)
    try:
        model = onnx.load_from_string(content)
    except (DecodeError, ValueError):
        raise ValueError("it is not ONNX") from None
    try:
        _check(model)
    except RecursionError:
        raise ValueError("its parts lie too deep in each other") from None
    return model


def _check(message: Any) -> None:
    """Check a message of protocol buffers and all that it consists of: text that is not UTF-8 would come as bytes."""
    if isinstance(message, TensorProto) and (message.data_location != TensorProto.DEFAULT or message.external_data):
        raise ValueError(f"its tensor {message.name[:50]} lies in another file")
    for field, value in message.ListFields():
        if field.message_type is None and field.type != field.TYPE_STRING:
            continue
        for part in value if field.is_repeated else (value,):
            if field.message_type is not None:
                _check(part)
            elif not isinstance(part, str):
                raise ValueError(f"its {field.name} is not UTF-8")
