"""A stranger's graph, parsed: what both its readers refuse."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
from onnx import ModelProto, TensorProto, helper

from textgen import StateSpec
from textgen.errors import ArtifactError
from textgen_onnx.checks.foreign import ForeignGraph
from textgen_onnx.checks.refused import Refused
from textgen_onnx.contract import Description
from textgen_onnx.graphs.parsing import parse
from textgen_onnx.graphs.reading import read_weights


def nested(depth: int, inside: TensorProto | None = None) -> ModelProto:
    """A graph in a graph, so many times; the innermost one has a tensor."""
    graph = helper.make_graph([], "inner", [], [], [inside] if inside else [])
    for _ in range(depth):
        graph = helper.make_graph([helper.make_node("If", ["x"], [], then_branch=graph)], "outer", [], [])
    return helper.make_model(graph)


def tensor(name: str, **fields: Any) -> TensorProto:
    return TensorProto(dims=[1], data_type=1, name=name, **fields)


def read(content: bytes) -> object:
    return read_weights(content, Description(via="weights", cell="gru", units=[4]), 5)


def judge(content: bytes) -> object:
    return ForeignGraph(content, StateSpec(()), 5)


READERS = pytest.mark.parametrize(("reader", "error"), [(parse, ValueError), (read, ArtifactError), (judge, Refused)])


@READERS
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff" * 100, "it is not ONNX"),
        (b"\xff" * 2**21, "it is not ONNX"),
        (nested(0, tensor("none")).SerializeToString().replace(b"none", b"n\xe1ne"), "its name is not UTF-8"),
        (nested(3, tensor("none")).SerializeToString().replace(b"none", b"n\xe1ne"), "its name is not UTF-8"),
        (
            nested(0, tensor("constant.far", data_location=TensorProto.EXTERNAL)).SerializeToString(),
            "its tensor constant.far lies in another file",
        ),
        (
            nested(3, tensor("constant.far", data_location=TensorProto.EXTERNAL)).SerializeToString(),
            "its tensor constant.far lies in another file",
        ),
    ],
)
def test_what_is_no_graph_or_lies_elsewhere(reader, error, content, message):
    with pytest.raises(error, match=f"^{message}$"):
        reader(content)


def near_the_limit(call: Callable[[], Any], frames: int) -> Any:
    """Calls where Python has so many frames left, as a deep program may."""
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back  # type: ignore[assignment]

    def deeper(left: int) -> Any:
        return deeper(left - 1) if left else call()

    return deeper(sys.getrecursionlimit() - depth - frames)


@READERS
def test_what_lies_too_deep_in_each_other(reader, error):
    content = nested(20).SerializeToString()
    with pytest.raises(error, match=r"^its parts lie too deep in each other$"):
        near_the_limit(lambda: reader(content), 45)
