"""What of a stranger's export runs: graphs built from its weights, and foreign graphs that pass the checks."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar, cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from textgen import api, hookimpl
from textgen.errors import ArtifactError, OptionError
from textgen.model.state import State
from textgen.runs.artifact import Artifact, Trust
from textgen.testing import registered
from textgen_numpy.runtime import NumpyRuntime
from textgen_onnx.running.threads import Choice
from textgen_onnx.runtime import OnnxRuntime

SAMPLE: dict[str, Any] = {"length": 60, "seed": 5, "num": 3}


@pytest.fixture(autouse=True)
def stranger(monkeypatch, tmp_path) -> None:
    """A machine that has not seen any of the graphs before."""
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "cache of a stranger"))


@pytest.fixture
def copied(exported, tmp_path) -> Callable[..., Artifact]:
    """Copies an export away from its run."""

    def copy(*arguments: Any, **options: Any) -> Artifact:
        shutil.copytree(exported(*arguments, **options).run.path / "onnx", tmp_path / "export")
        return Artifact.open(tmp_path / "export")

    return copy


def edit(export: Artifact, change: Callable[[onnx.ModelProto], Any], name: str = "step.onnx") -> None:
    """Change a graph, and the recorded hash."""
    model = onnx.load_from_string((export.path / name).read_bytes())
    changed = change(model)
    export.put(name, changed if isinstance(changed, bytes) else model.SerializeToString())
    export.commit()


def tensor(model: onnx.ModelProto, name: str) -> TensorProto:
    graphs = [model.graph]
    for graph in graphs:
        graphs += [each.g for node in graph.node for each in node.attribute if each.HasField("g")]
    found: TensorProto = next(each for graph in graphs for each in graph.initializer if each.name == name)
    return found


def replace_values(model: onnx.ModelProto, name: str, change: Callable[[Any], None]) -> None:
    found = tensor(model, name)
    array = numpy_helper.to_array(found).copy()
    change(array)
    found.CopyFrom(numpy_helper.from_array(array, name))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_graphs_of_an_export_are_what_its_weights_give(copied, opened, cell, precision, layers):
    export = copied(cell, precision=precision, layers=layers)
    files = {(export.path / name).read_bytes() for name in ("step.onnx", "generate.onnx")}
    api.load(export.path).generate("The", **SAMPLE)
    assert set(opened) == files


def test_a_graph_that_was_built_once_is_known(copied, monkeypatch):
    export = copied()
    text = api.load(export.path).generate("The", **SAMPLE)
    monkeypatch.setattr("onnx.load_from_string", pytest.fail)
    assert api.load(export.path).generate("The", **SAMPLE) == text


#: A folder that cannot be written, where there is one.
READ_ONLY = pytest.param(
    "read-only",
    marks=pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"),
)


@pytest.mark.parametrize("folder", ["a file", READ_ONLY])
def test_a_cache_that_cannot_be_written_changes_nothing(copied, monkeypatch, tmp_path, folder):
    export = copied()
    text = api.load(export.path).generate("The", **SAMPLE)
    cache = tmp_path / folder
    cache.mkdir(mode=0o500) if folder == "read-only" else cache.write_text("")
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(cache))
    assert api.load(export.path).generate("The", **SAMPLE) == text


@pytest.mark.parametrize("name", ["step.onnx", "generate.onnx"])
def test_the_graph_of_a_file_is_not_run(copied, opened, name):
    export = copied()
    expected = api.load(export.path).generate("The", **SAMPLE)

    def never_tanh(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            for attribute in node.attribute:
                for inner in attribute.g.node:
                    inner.op_type = "Relu" if inner.op_type == "Tanh" else inner.op_type

    edit(export, never_tanh, name)
    opened.clear()
    assert api.load(export.path).generate("The", **SAMPLE) == expected
    assert (export.path / name).read_bytes() not in opened
    assert api.load(export.path, trust="graph").generate("The", **SAMPLE) != expected


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("precision", "name"),
    [
        ("fp32", "head.bias"),
        ("fp32", "layers.0.recurrent_kernel.gates"),
        ("fp16", "head.kernel"),
        ("int8", "layers.0.recurrent_kernel.scale"),
    ],
)
def test_weights_that_are_not_finite(copied, precision, name, value):
    export = copied(precision=precision)
    edit(export, lambda model: replace_values(model, name, lambda array: array.reshape(-1).__setitem__(-1, value)))
    with pytest.raises(ArtifactError, match=f"step.onnx does not belong to this model: its {name} is not finite"):
        api.load(export.path).generate("The", **SAMPLE)


def test_weights_twice(copied):
    export = copied()
    edit(export, lambda model: model.graph.initializer.append(tensor(model, "head.bias")))
    with pytest.raises(ArtifactError, match="does not hold the weights"):
        api.load(export.path).generate("The", **SAMPLE)


@pytest.mark.parametrize("change", ["shape", "type", "bytes"])
def test_weights_of_another_kind(copied, change):
    def alter(model: onnx.ModelProto) -> None:
        bias = tensor(model, "head.bias")
        if change == "shape":
            bias.dims[:] = [bias.dims[0], 1]
        elif change == "type":
            bias.data_type = TensorProto.INT32
        else:
            bias.raw_data = bias.raw_data[:-4]
            model.doc_string = "padding"

    export = copied()
    edit(export, alter)
    with pytest.raises(ArtifactError, match=r"its head\.bias "):
        api.load(export.path).generate("The", **SAMPLE)


def varint(number: int, *, longer: int = 0) -> bytes:
    """A number in the encoding of protocol buffers, which may be longer than it has to be."""
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    parts.append(number)
    if longer:
        parts[-1] |= 128
        parts += [128] * (longer - 1) + [0]
    return bytes(parts)


def field(number: int, content: bytes, **options: int) -> bytes:
    return varint(number << 3 | 2, **options) + varint(len(content), **options) + content


#: Ways to write the pair ``location: "weights.bin"`` of a tensor's external data.
ENCODINGS = {
    "canonical": field(13, field(1, b"location") + field(2, b"weights.bin")),
    "another order": field(13, field(2, b"weights.bin") + field(1, b"location")),
    "long numbers": field(13, field(1, b"location", longer=2) + field(2, b"weights.bin", longer=1), longer=3),
    "twice": field(13, field(1, b"another") + field(2, b"weights.bin") + field(1, b"location")),
}


def with_external(model: onnx.ModelProto, name: str, pair: bytes) -> bytes:
    """The model with a tensor in another file; its graph comes in two messages, which protocol buffers merge."""
    moved = tensor(model, name)
    bare = TensorProto(dims=moved.dims, data_type=moved.data_type, name=moved.name, data_location=TensorProto.EXTERNAL)
    content = bare.SerializeToString() + pair
    model.doc_string = " " * len(moved.raw_data)
    model.graph.initializer.remove(moved)
    return bytes(model.SerializeToString()) + field(7, field(5, content))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("trust", ["weights", "graph"])
def test_weights_in_another_file_in_any_encoding(copied, monkeypatch, opened, trust, encoding):
    export = copied()
    bias = tensor(onnx.load_from_string((export.path / "step.onnx").read_bytes()), "head.bias").raw_data
    (export.path / "weights.bin").write_bytes(bias)
    monkeypatch.chdir(export.path)
    edit(export, lambda model: with_external(model, "head.bias", ENCODINGS[encoding]))
    with pytest.raises(ArtifactError, match=r"its (tensor )?head\.bias lies in another file"):
        api.load(export.path, trust=trust).generate("The", **SAMPLE)
    assert not opened


def describe(export: Artifact, **changes: Any) -> None:
    assert export.manifest.export is not None
    export.manifest.export |= changes
    export.commit()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": ["6"]}, "is not valid: units.0"),
        ({"units": [0]}, "units.0"),
        ({"units": []}, "no units"),
        ({"units": [10**12]}, "units.0: Input should be less"),
        ({"units": [6] * 1001}, "units"),
        ({"units": "6"}, "units"),
        ({"cell": "rnn"}, "cell"),
        ({"cell": None}, "no cell"),
        ({"precision": "fp8"}, "precision"),
        ({"via": 3}, "via"),
        ({"generate": []}, "generate"),
        ({"generate": {}}, "is not valid: generate.sampler_names: Field required; export again"),
    ],
)
def test_a_description_that_is_not_valid(copied, textgen, changes, message):
    export = copied()
    describe(export, **changes)
    done = textgen("sample", export.path, "--runtime", "onnx", "--prompt", "The")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err


def test_a_size_that_the_file_does_not_have_allocates_nothing(copied):
    export = copied()
    units = 2**20
    describe(export, units=[units])
    export.manifest.state_spec = [{"name": "0.h", "shape": [units], "dtype": "float32", "initial": 0.0}]
    export.commit()
    with pytest.raises(ArtifactError, match="and the weights of this model"):
        api.load(export.path).generate("The", **SAMPLE)


def test_another_trust_is_an_error(copied):
    with pytest.raises(OptionError, match="there are: weights, graph"):
        api.load(copied().path, trust=cast("Any", "everything"))


@pytest.mark.parametrize("wrong", [-1, 2**31, 2**32 + 1, -(2**40)])
def test_ids_of_a_graph_are_checked_before_they_are_narrowed(copied, wrong):
    export = copied()

    def change(model: onnx.ModelProto) -> None:
        (last,) = [node for node in model.graph.node if "ids" in node.output]
        model.graph.initializer.append(numpy_helper.from_array(np.array(wrong), "wrong"))
        model.graph.initializer.append(numpy_helper.from_array(np.array(0), "none"))
        written = last.input[0]
        last.op_type = "Add"
        model.graph.node.insert(
            list(model.graph.node).index(last), helper.make_node("Mul", [written, "none"], ["nothing"])
        )
        last.input[:] = ["nothing", "wrong"]

    edit(export, change, "generate.onnx")
    with pytest.raises(ArtifactError, match=f"it writes the id {wrong}, but ids are from 0"):
        api.load(export.path, trust="graph").generate("T", **SAMPLE)


def test_ids_that_are_never_drawn_are_not_written(copied):
    export = copied(tokenizer="string-lookup")  # 0 is for unknown characters

    def change(model: onnx.ModelProto) -> None:
        (last,) = [node for node in model.graph.node if "ids" in node.output]
        model.graph.initializer.append(numpy_helper.from_array(np.array(0), "none"))
        last.op_type = "Mul"
        last.input[:] = [last.input[0], "none"]

    edit(export, change, "generate.onnx")
    with pytest.raises(ArtifactError, match="it writes the id 0, which is never drawn"):
        api.load(export.path, trust="graph").generate("T", **SAMPLE)


@pytest.fixture
def foreign(copied: Callable[..., Artifact]) -> Artifact:
    """An export whose step.onnx another converter could have written."""
    export = copied()
    (export.path / "generate.onnx").unlink()
    del export.manifest.files["generate.onnx"]
    describe(export, via="tf2onnx", cell=None, units=[], generate=None)
    return export


def test_a_foreign_graph_of_known_operators_runs(foreign, exported, opened):
    expected = api.load(exported().run.path, runtime="numpy").generate(["The", "lazy"], length=60, seed=5, num=3)
    assert api.load(foreign.path).generate(["The", "lazy"], length=60, seed=5, num=3) == expected
    assert (foreign.path / "step.onnx").read_bytes() in opened


def test_a_foreign_graph_gives_the_same_through_a_binding_and_in_shared_rows(foreign):
    ids = np.random.default_rng(0).integers(1, 20, (16, 8), dtype=np.int32)
    found = []
    for binds in (False, True):
        runtime = OnnxRuntime(Artifact.open(foreign.path), "cpu", binds=binds)
        found.append(runtime.forward(ids, runtime.initial_state(16))[0])
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def own_graph(nodes: list[Any], tensors: dict[str, Any] | None = None, vocab: int = 30, units: int = 6) -> Any:
    """A graph that reads text by a table, and adds 0 times a tensor ``extra`` which its nodes give."""
    given = {"table": np.eye(vocab, dtype=np.float32), "zero": np.float32(0), **(tensors or {})}
    base = [
        helper.make_node("Gather", ["table", "ids"], ["looked.up"]),
        helper.make_node("Identity", ["past.0.h"], ["present.0.h"]),
    ]
    end = [
        helper.make_node("Cast", ["extra"], ["as.float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["as.float"], ["one"], keepdims=0),
        helper.make_node("Mul", ["one", "zero"], ["nothing"]),
        helper.make_node("Add", ["looked.up", "nothing"], ["logits"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [*base, *nodes, *end],
        "own",
        [
            value("ids", TensorProto.INT64, ["batch", "sequence"]),
            value("lengths", TensorProto.INT64, ["batch"]),
            value("past.0.h", TensorProto.FLOAT, ["batch", units]),
        ],
        [
            value("logits", TensorProto.FLOAT, ["batch", "sequence", vocab]),
            value("present.0.h", TensorProto.FLOAT, ["batch", units]),
        ],
        initializer=[numpy_helper.from_array(np.asarray(array), name) for name, array in given.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def loop(trips: str, body: list[Any] | None = None) -> Any:
    value = helper.make_tensor_value_info
    nodes = body or [helper.make_node("Identity", ["before"], ["after"])]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["goes.on"], ["still"]), *nodes],
        "body",
        [value("i", TensorProto.INT64, []), value("goes.on", TensorProto.BOOL, []), value("before", 1, [])],
        [value("still", TensorProto.BOOL, []), value("after", TensorProto.FLOAT, [])],
    )
    return helper.make_node("Loop", [trips, "", "zero"], ["extra"], body=graph)


def branch() -> Any:
    value = helper.make_tensor_value_info
    inner = helper.make_graph(
        [helper.make_node("Identity", ["zero"], ["inside"])], "branch", [], [value("inside", TensorProto.FLOAT, [])]
    )
    return helper.make_node("If", ["yes"], ["extra"], then_branch=inner, else_branch=inner)


node = helper.make_node
SHAPE = node("Shape", ["ids"], ["sizes"])
HOSTILE: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "2**62 trips": ([loop("many")], {"many": np.int64(2**62)}, "does not run once per id"),
    "trips without a number": ([loop("")], {}, "does not run once per id|does not fit|do not fit"),
    "trips that are read": (
        [node("ReduceMax", ["ids"], ["most"], keepdims=0), loop("most")],
        {},
        "does not run once per id",
    ),
    "a loop in a loop": ([loop("many", [loop("many")])], {"many": np.int64(1)}, "a loop in a loop"),
    "If": ([branch()], {"yes": np.bool_(True)}, "operator If"),
    "a huge constant": ([node("ConstantOfShape", ["big"], ["extra"])], {"big": np.array([2**40])}, "elements"),
    "a huge range": ([node("Range", ["a", "b", "a"], ["extra"])], {"a": np.int64(1), "b": np.int64(2**50)}, "elements"),
    "a huge tile": ([node("Tile", ["table", "big"], ["extra"])], {"big": np.array([2**30, 2**30])}, "elements"),
    "a huge expand": ([node("Expand", ["zero", "big"], ["extra"])], {"big": np.array([2**20, 2**20])}, "elements"),
    "a size that is read": (
        [node("ReduceMax", ["ids"], ["most"], axes=[0, 1]), node("ConstantOfShape", ["most"], ["extra"])],
        {},
        "a size that depends on what is read|do not fit",
    ),
    "doubling": (
        [
            node("Concat", ["table", "table"], ["double.0"], axis=0),
            *(node("Concat", [f"double.{i}"] * 2, [f"double.{i + 1}"], axis=0) for i in range(50)),
            node("Identity", ["double.50"], ["extra"]),
        ],
        {},
        "elements",
    ),
    "outer products": (
        [
            node("Mul", ["column", "row"], ["square"]),
            node("Reshape", ["square", "flat"], ["long"]),
            node("Transpose", ["long"], ["wide"]),
            node("MatMul", ["long", "wide"], ["extra"]),
        ],
        {"column": np.ones((300, 1), np.float32), "row": np.ones((1, 300), np.float32), "flat": np.array([-1, 1])},
        "elements",
    ),
    "texts": ([node("Cast", ["ids"], ["extra"], to=TensorProto.STRING)], {}, "a Cast is to the data type 8"),
    "complex numbers": ([node("Cast", ["ids"], ["extra"], to=TensorProto.COMPLEX64)], {}, "a Cast is to the data"),
    "float8": ([node("Cast", ["ids"], ["extra"], to=TensorProto.FLOAT8E4M3FN)], {}, "a Cast is to the data"),
    "a text": ([node("Constant", [], ["extra"], value_string="text")], {}, "a Constant is a string"),
    "a tensor of texts": (
        [
            node(
                "Constant",
                [],
                ["extra"],
                value=TensorProto(name="texts", data_type=TensorProto.STRING, dims=[1], string_data=[b"text"]),
            )
        ],
        {},
        "its tensor texts has the data type 8",
    ),
    "products for minutes": (
        [
            node("Expand", ["zero", "many"], ["square"]),
            node("MatMul", ["square", "square"], ["product.0"]),
            *(node("MatMul", [f"product.{i}", "square"], [f"product.{i + 1}"]) for i in range(30)),
            node("Identity", ["product.30"], ["extra"]),
        ],
        {"many": np.array([2000, 2000])},
        "it computes for too long, at a MatMul",
    ),
    "sums for minutes": (
        [
            node("Expand", ["zero", "many"], ["square"]),
            *(node("ReduceSum", ["square"], [f"sum.{i}"]) for i in range(1000)),
            node("Identity", ["sum.999"], ["extra"]),
        ],
        {"many": np.array([5000, 5000])},
        "it computes for too long, at a ReduceSum",
    ),
    "another domain": ([node("Identity", ["zero"], ["extra"], domain="com.microsoft")], {}, "com.microsoft.Identity"),
    "an unknown operator": ([node("Teleport", ["zero"], ["extra"])], {}, "operator Teleport"),
    "external data in an attribute": (
        [
            node(
                "Constant",
                [],
                ["extra"],
                value=TensorProto(
                    dims=[1],
                    data_type=TensorProto.FLOAT,
                    name="far",
                    data_location=TensorProto.EXTERNAL,
                    external_data=[onnx.StringStringEntryProto(key="location", value="weights.bin")],
                ),
            )
        ],
        {},
        "lies in another file",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_foreign_graph_that_is_not_allowed(foreign, textgen, opened, name):
    nodes, tensors, reason = HOSTILE[name]
    foreign.put("step.onnx", own_graph(nodes, tensors, foreign.manifest.vocab_size).SerializeToString())
    foreign.commit()
    done = textgen("sample", foreign.path, "--runtime", "onnx", "--prompt", "The", "--length", 5)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "step.onnx is not run: " in done.err
    assert "--trust-graph" in done.err
    assert any(part in done.err for part in reason.split("|"))
    assert not opened


def test_the_table_by_which_hostile_graphs_are_made_is_allowed(foreign):
    model = own_graph([node("Identity", ["zero"], ["extra"])], vocab=foreign.manifest.vocab_size)
    foreign.put("step.onnx", model.SerializeToString())
    foreign.commit()
    assert api.load(foreign.path).generate("The", length=4, sampler="greedy") == "Theeeee"


@pytest.mark.parametrize("change", ["functions", "training", "opset", "sparse", "segment", "values"])
def test_parts_of_a_model_that_are_not_allowed(foreign, change):
    model = own_graph([node("Identity", ["zero"], ["extra"])], vocab=foreign.manifest.vocab_size)
    if change == "functions":
        model.functions.append(
            helper.make_function("own", "Twice", ["x"], ["y"], [node("Add", ["x", "x"], ["y"])], model.opset_import)
        )
    elif change == "training":
        model.training_info.add()
    elif change == "opset":
        model.opset_import[0].version = 18
    elif change == "sparse":
        model.graph.sparse_initializer.add()
    elif change == "segment":
        model.graph.initializer[0].segment.begin = 0
    else:
        model.graph.initializer[0].dims[:] = [2**20, 2**20]
    foreign.put("step.onnx", model.SerializeToString())
    foreign.commit()
    with pytest.raises(ArtifactError, match=r"step\.onnx is not run: .*--trust-graph"):
        api.load(foreign.path).generate("The", **SAMPLE)


@pytest.mark.parametrize("place", ["attribute", "sparse", "function", "loop", "training"])
def test_external_data_is_not_read_from_anywhere_by_trust(foreign, opened, place):
    far = TensorProto(dims=[1], data_type=1, name="far", data_location=TensorProto.EXTERNAL)
    inner = [node("Constant", [], ["after"], value=far)]
    nodes = {"attribute": [node("Constant", [], ["extra"], value=far)], "loop": [loop("one", inner)]}
    tensors = {"one": np.int64(1)}
    model = own_graph(nodes.get(place, [node("Identity", ["zero"], ["extra"])]), tensors, foreign.manifest.vocab_size)
    if place == "sparse":
        model.graph.sparse_initializer.add().values.CopyFrom(far)
    elif place == "function":
        model.functions.append(helper.make_function("own", "Far", [], ["after"], inner, model.opset_import))
    elif place == "training":
        model.training_info.add().initialization.initializer.append(far)
    foreign.put("step.onnx", model.SerializeToString())
    foreign.commit()
    with pytest.raises(ArtifactError, match="its tensor far lies in another file"):
        api.load(foreign.path, trust="graph").generate("The", **SAMPLE)
    assert not opened


def test_sizes_that_only_some_numbers_of_rows_have(foreign):
    """From 100 rows on, a slice is not empty, and its length times 2**40 is the size of a constant."""
    nodes = [
        node("Slice", ["lengths", "from", "to"], ["hundredth"]),
        node("Shape", ["hundredth"], ["there"]),
        node("Mul", ["there", "huge"], ["size"]),
        node("Add", ["size", "least"], ["at.least"]),
        node("ConstantOfShape", ["at.least"], ["extra"]),
    ]
    tensors = {"from": [99], "to": [100], "huge": [2**40], "least": [1]}
    model = own_graph(nodes, {k: np.array(v) for k, v in tensors.items()}, foreign.manifest.vocab_size)
    foreign.put("step.onnx", model.SerializeToString())
    foreign.commit()
    runtime = OnnxRuntime(Artifact.open(foreign.path), "cpu")
    ids = np.zeros((99, 2), np.int32)
    assert np.isfinite(runtime.forward(ids, runtime.initial_state(99))[0]).all()
    with pytest.raises(ArtifactError, match="elements"):
        runtime.forward(np.zeros((100, 2), np.int32), runtime.initial_state(100))


def test_a_loop_of_work_is_bounded_by_the_ids_that_it_reads(foreign):
    body = [
        node("Expand", ["before", "many"], ["square"]),
        node("MatMul", ["square", "square"], ["product"]),
        node("ReduceMax", ["product"], ["after"], keepdims=0),
    ]
    nodes = [node("Shape", ["ids"], ["sizes"]), node("Gather", ["sizes", "second"], ["steps"]), loop("steps", body)]
    tensors = {"many": np.array([900, 900]), "second": np.int64(1)}
    foreign.put("step.onnx", own_graph(nodes, tensors, foreign.manifest.vocab_size).SerializeToString())
    foreign.commit()
    runtime = OnnxRuntime(Artifact.open(foreign.path), "cpu")
    assert np.isfinite(runtime.forward(np.zeros((1, 5), np.int32), runtime.initial_state(1))[0]).all()
    with pytest.raises(ArtifactError, match=r"it computes for too long, at a MatMul; .*--trust-graph"):
        runtime.forward(np.zeros((1, 500), np.int32), runtime.initial_state(1))


def test_ctrl_c_ends_a_foreign_graph_within_a_run(foreign, monkeypatch):
    nodes: list[Any] = [node("Cast", ["lengths"], ["length"], to=TensorProto.FLOAT)]
    nodes += [node("ReduceMax", ["length"], ["most"], keepdims=0), node("Expand", ["most", "many"], ["product.0"])]
    nodes += [node("MatMul", [f"product.{i}"] * 2, [f"product.{i + 1}"]) for i in range(400)]
    nodes += [node("Identity", ["product.400"], ["extra"])]
    model = own_graph(nodes, {"many": np.array([500, 500])}, foreign.manifest.vocab_size)
    foreign.put("step.onnx", model.SerializeToString())
    foreign.commit()
    monkeypatch.setattr("textgen_onnx.checks.shapes.MOST_WORK", 10**12)  # so that it takes some seconds
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    runtime = OnnxRuntime(Artifact.open(foreign.path), "cpu")
    try:
        with monkeypatch.context() as only:
            only.setattr(
                "textgen_onnx.running.runner.choose_threads",
                lambda key, rows, open_with, run, *, again: Choice(open_with(1)),
            )
            begun = time.monotonic()
            runtime.forward(np.zeros((1, 1), np.int32), runtime.initial_state(1))
            whole = time.monotonic() - begun
            begun = time.monotonic()
            threading.Timer(whole / 8, os.kill, (os.getpid(), signal.SIGINT)).start()
            with pytest.raises(KeyboardInterrupt):
                runtime.forward(np.zeros((1, 1), np.int32), runtime.initial_state(1))
            assert time.monotonic() - begun < whole / 2
    finally:
        signal.signal(signal.SIGINT, previous)


def test_outputs_of_another_shape_than_declared(foreign):
    vocab = foreign.manifest.vocab_size
    model = own_graph([node("Identity", ["zero"], ["extra"])], vocab=vocab)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.eye(vocab + 1, dtype=np.float32), "table"))
    foreign.put("step.onnx", model.SerializeToString())
    foreign.commit()
    for trust in ("weights", "graph"):
        runtime = OnnxRuntime(Artifact.open(foreign.path, trust), "cpu")
        with pytest.raises(ArtifactError, match="output logits"):
            runtime.forward(np.zeros((1, 3), np.int32), State({"0.h": np.zeros((1, 6), np.float32)}))


def test_a_failing_run_is_one_line(foreign):
    model = own_graph([node("Gather", ["table", "beyond"], ["extra"])], {"beyond": np.int64(10**6)})
    foreign.put("step.onnx", model.SerializeToString())
    foreign.commit()
    for trust in ("weights", "graph"):
        with pytest.raises(ArtifactError, match=r"step\.onnx") as caught:
            api.load(foreign.path, trust=trust).generate("The", **SAMPLE)
        assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_export_of_the_run(copied, textgen):
    export = copied()
    manifest = json.loads((export.path / "textgen.json").read_text())
    manifest["state_spec"][0]["shape"] = [7]
    (export.path / "textgen.json").write_text(json.dumps(manifest))
    done = textgen("sample", export.path, "--prompt", "The", "--runtime", "onnx")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "its state is not that of a gru" in done.err


@pytest.mark.parametrize("part", [7, 8])
@pytest.mark.parametrize("depth", ["nodes", "attributes", "deep"])
def test_a_file_of_empty_parts_is_not_parsed(foreign, monkeypatch, part, depth):
    """Two bytes of an empty node become 150 in memory."""
    empty = field(1, b"") * 2**20
    if depth == "attributes":
        empty = field(1, field(5, b"") * 2**20)
    if depth == "deep":
        empty = field(9, bytes(2**20))  # so that it is looked at
        for _ in range(70):
            empty = field(1, field(5, field(6, empty)))
    foreign.put("step.onnx", field(part, empty))
    foreign.commit()
    monkeypatch.setattr("onnx.load_from_string", pytest.fail)
    for trust in ("weights", "graph"):
        with pytest.raises(ArtifactError, match=r"besides the values of tensors|too deep"):
            api.load(foreign.path, trust=cast("Any", trust)).generate("The", **SAMPLE)


def test_large_weights_are_no_structure(exported, copied):
    export = copied(units=400, width=None)
    assert (export.path / "step.onnx").stat().st_size > 2**20
    text = api.load(exported(units=400, width=None).run.path, runtime="numpy").generate("The", length=20, seed=1)
    assert api.load(export.path).generate("The", length=20, seed=1) == text


def test_an_evaluation_trusts_a_graph_if_it_is_told_to(foreign, exported, textgen):
    nodes, tensors, _ = HOSTILE["If"]
    foreign.put("step.onnx", own_graph(nodes, tensors, foreign.manifest.vocab_size).SerializeToString())
    foreign.commit()
    folder = exported().run.path.parent
    arguments = ("evaluate", foreign.path, "--runtime", "onnx", "--data-dir", folder)
    refused = textgen(*arguments)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "operator If" in refused.err
    done = textgen(*arguments, "--trust-graph")
    assert done.code == 0, done.err
    assert "nats" in done.out
    done = textgen("evaluate", exported().run.path, "--folds", 2, "--trust-graph")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--trust-graph cannot be combined with --folds" in done.err


class Stub(NumpyRuntime):
    """A runtime of a third party, which knows nothing of trust."""

    trusts: ClassVar[list[str]] = []

    @classmethod
    def open(cls, artifact, make_model, device="auto"):
        cls.trusts.append(artifact.trust)
        return super().open(artifact, make_model, device)


class StubPlugin:
    @hookimpl
    def textgen_register_runtimes(self, register):
        register("stub", Stub)


def test_a_runtime_of_a_third_party_goes_on_as_before(exported):
    path = exported().run.path
    with registered(StubPlugin()):
        trusts: tuple[Trust, ...] = ("weights", "graph")
        texts = {api.load(path, runtime="stub", trust=trust).generate("The", **SAMPLE)[0] for trust in trusts}
    assert len(texts) == 1
    assert Stub.trusts == ["weights", "graph"]
