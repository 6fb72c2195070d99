"""The block graph: the steps of the loop one after the other, so that a CUDA graph can replay them."""

import gc
from collections.abc import Iterator
from itertools import groupby

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from textgen import api
from textgen.errors import UnavailableError
from textgen.model.network import Cell
from textgen.runs.artifact import Artifact
from textgen.sampling.draw import Draw, uniforms
from textgen.saved_run import SavedRun
from textgen.text_generator import TextGenerator
from textgen_onnx.contract import Precision
from textgen_onnx.graphs.generate import build_block, build_generate
from textgen_onnx.graphs.weights import GraphWeights
from textgen_onnx.running.cuda import why_no_cuda
from textgen_onnx.running.cuda_block import BlockLoop
from textgen_onnx.running.device_state import DeviceState
from textgen_onnx.running.session import open_session
from textgen_onnx.runtime import LONG_BLOCK, SHORT_BLOCK, OnnxRuntime

LONG = "repetition-penalty(1.2) | temperature(0.8) | top-k(12) | top-p(0.9) | min-p(0.02) | multinomial"

#: Kernels of ONNX Runtime's CUDA provider for opset 17, as inputs -> outputs, neighbours of one type written once, from
#: https://github.com/microsoft/onnxruntime/blob/001d12d2623fd411ce0f83d05abb5e82304a3389/docs/OperatorKernels.md.
#: Of each operator only the types that the graphs use are listed.
CUDA_KERNELS = {
    "Add": {"FLOAT -> FLOAT", "INT64 -> INT64"},
    "ArgMax": {"FLOAT -> INT64"},
    "Cast": {
        "BOOL -> FLOAT",
        "BOOL -> INT32",
        "FLOAT -> BOOL",
        "FLOAT -> DOUBLE",
        "FLOAT -> FLOAT16",
        "FLOAT16 -> FLOAT",
        "INT32 -> INT64",
        "INT64 -> INT32",
    },
    "Concat": {"INT64 -> INT64"},
    "CumSum": {"DOUBLE INT64 -> DOUBLE", "FLOAT INT64 -> FLOAT"},
    "Div": {"FLOAT -> FLOAT", "INT64 -> INT64"},
    "Equal": {"FLOAT -> BOOL", "INT64 -> BOOL"},
    "Exp": {"FLOAT -> FLOAT"},
    "Gather": {"DOUBLE INT64 -> DOUBLE", "FLOAT INT64 -> FLOAT", "INT32 INT64 -> INT32", "INT64 -> INT64"},
    "Greater": {"FLOAT -> BOOL"},
    "GreaterOrEqual": {"FLOAT -> BOOL"},
    "Identity": {"BOOL -> BOOL", "FLOAT -> FLOAT", "INT32 -> INT32", "INT64 -> INT64"},
    "Less": {"FLOAT -> BOOL"},
    "LessOrEqual": {"DOUBLE -> BOOL", "FLOAT -> BOOL"},
    "Log": {"FLOAT -> FLOAT"},
    "MatMul": {"FLOAT -> FLOAT", "FLOAT16 -> FLOAT16"},
    "Max": {"FLOAT -> FLOAT"},
    "Mod": {"INT64 -> INT64"},
    "Mul": {"DOUBLE -> DOUBLE", "FLOAT -> FLOAT", "INT64 -> INT64"},
    "ReduceMax": {"FLOAT -> FLOAT"},
    "ReduceSum": {"INT32 INT64 -> INT32"},
    "ScatterElements": {"BOOL INT64 BOOL -> BOOL", "FLOAT INT64 FLOAT -> FLOAT"},
    "Sigmoid": {"FLOAT -> FLOAT"},
    "Softmax": {"FLOAT -> FLOAT"},
    "Split": {"FLOAT INT64 -> FLOAT"},
    "Sub": {"FLOAT -> FLOAT"},
    "Tanh": {"FLOAT -> FLOAT"},
    "TopK": {"FLOAT INT64 -> FLOAT INT64"},
    "Unsqueeze": {"FLOAT INT64 -> FLOAT", "INT64 -> INT64"},
    "Where": {"BOOL FLOAT -> FLOAT"},
}

needs_cuda = pytest.mark.skipif(bool(why_no_cuda()), reason=why_no_cuda() or "CUDA works")


def nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph, at any depth."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nodes(inner)


def computed(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes that depend on inputs: ONNX Runtime runs the others on the CPU, when it opens a session."""
    known = {value.name for value in graph.input}
    for node in graph.node:
        if known & {*node.input}:
            known.update(node.output)
            yield node


def typed(model: onnx.ModelProto) -> tuple[dict[str, int], dict[str, list[int | None]]]:
    """Element type and shape of every value of a graph without sub-graphs."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    shapes = {
        value.name: [
            size.dim_value if size.HasField("dim_value") else None for size in value.type.tensor_type.shape.dim
        ]
        for value in values
    }
    for tensor in graph.initializer:
        kinds[tensor.name], shapes[tensor.name] = tensor.data_type, list(tensor.dims)
    return kinds, shapes


@pytest.fixture(scope="module")
def make_block(make_network, chain):
    def make(cell: Cell, text: str, precision: Precision = "fp32") -> onnx.ModelProto:
        contexts = 30 if cell == "gru" else 0
        weights = GraphWeights.from_network(make_network(cell, layers=2, contexts=contexts), precision)
        return build_block(weights, chain(text), (0,), 3, steps=5, batch=1)

    return make


CASES = [(cell, text) for cell in ("gru", "lstm") for text in (LONG, "greedy")]


@pytest.mark.parametrize(("cell", "text"), CASES)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_block_has_no_control_flow_and_only_fixed_shapes(make_block, cell, text, precision):
    model = make_block(cell, text, precision)
    assert not {"Loop", "Scan", "If", "SequenceMap"} & {node.op_type for node in nodes(model.graph)}
    assert not any(attribute.HasField("g") or attribute.graphs for n in model.graph.node for attribute in n.attribute)
    kinds, shapes = typed(model)
    for node in computed(model.graph):
        for name in (*node.input, *node.output):
            assert None not in shapes[name], name
            assert kinds[name]


@pytest.mark.parametrize(("cell", "text"), CASES)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_operator_of_a_block_has_a_cuda_kernel_for_its_types(make_block, cell, text, precision):
    model = make_block(cell, text, precision)
    kinds, _ = typed(model)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    for node in computed(model.graph):
        used = " -> ".join(
            " ".join(TensorProto.DataType.Name(kind) for kind, _ in groupby(kinds[name] for name in names))
            for names in (node.input, node.output)
        )
        assert used in CUDA_KERNELS.get(node.op_type, ()), f"{node.op_type}: {used}"


def test_the_loop_has_control_flow(make_network, chain):
    """The operators that the tests above look for can be found."""
    model = build_generate(GraphWeights.from_network(make_network("gru")), chain("greedy"), (), None)
    assert "Scan" in {node.op_type for node in nodes(model.graph)}
    assert "Tanh" in {node.op_type for node in nodes(model.graph)}
    assert "Tanh" not in {node.op_type for node in model.graph.node}


@pytest.fixture(scope="module", params=[("gru", 0), ("lstm", 0), ("gru", 50)], ids=["gru", "lstm", "n-gram"])
def pair(request, exported) -> tuple[OnnxRuntime, OnnxRuntime]:
    """The loop, and blocks, on the CPU."""
    cell, contexts = request.param
    folder = exported(cell, layers=2, contexts=contexts).run.path / "onnx"
    loop, blocks = (OnnxRuntime(Artifact.open(folder), "cpu", blocks=blocks) for blocks in (False, True))
    return loop, blocks


@pytest.mark.parametrize("text", ["greedy", "temperature(0.9) | multinomial", LONG])
@pytest.mark.parametrize("steps", [SHORT_BLOCK, LONG_BLOCK])
def test_blocks_write_what_the_loop_writes(pair, chain, text, steps, rounding):
    written = []
    for runtime in pair:
        draw = Draw([chain(text)], runtime.vocab_size, (1,))
        draw.note(np.array([0, 0]), np.array([4, 5], np.int32))
        last, state = np.array([4], np.int32), runtime.initial_state(1)
        for block in range(5):
            result = runtime.generate(last, state, draw, uniforms(8, [3], 1 + block * steps, steps))
            last, state = result.ids[-1], result.state
            written.append((result.ids, state.copy(), draw.seen))
    for (ids, state, seen), (other_ids, other_state, other_seen) in zip(written[:5], written[5:], strict=True):
        np.testing.assert_array_equal(ids, other_ids)
        np.testing.assert_array_equal(seen, other_seen)
        for name, array in state.items():
            np.testing.assert_allclose(array, other_state[name], atol=rounding)


@pytest.mark.parametrize("text", ["greedy", LONG])
def test_the_loop_with_states_on_the_device_writes_what_it_writes_without(exported, chain, text):
    """As on CUDA, with I/O binding and states in values of ONNX Runtime; here the device is the CPU."""
    export = Artifact.open(exported("lstm", layers=2, contexts=50).run.path / "onnx")
    written = []
    for binds in (False, True):
        runtime = OnnxRuntime(export, "cpu", binds=binds)
        draw = Draw([chain(text)] * 3, runtime.vocab_size, (1,))
        prompts, lengths = np.array([[4, 5, 2], [3, 0, 0], [5, 4, 0]], np.int32), np.array([3, 0, 2], np.int32)
        last, state = np.array([4, 2, 3], np.int32), runtime.prefill(prompts, runtime.initial_state(3), lengths)
        for block in range(3):
            result = runtime.generate(last, state, draw, uniforms(8, [3, 1, 2], 1 + block * 5, 5))
            last, state = result.ids[-1], result.state
            written += [result.ids, *state.copy().values()]
        written.append(runtime.forward(prompts, state, lengths)[0][:, 0])
    for ours, bound in zip(written[: len(written) // 2], written[len(written) // 2 :], strict=True):
        np.testing.assert_array_equal(ours, bound)


def test_a_state_that_a_block_left_is_a_value(pair, chain, rounding):
    """It can be kept, read, and continued from twice, and is still valid after more text was written."""
    loop, blocks = pair
    randoms = uniforms(1, [0], 1, LONG_BLOCK)
    start = np.array([3], np.int32)

    def write(runtime, state):
        draw = Draw([chain("temperature(0.8) | multinomial")], runtime.vocab_size)
        return runtime.generate(start, state, draw, randoms)

    expected = write(loop, loop.initial_state(1)).state
    kept = write(blocks, blocks.initial_state(1)).state
    looked_at = dict(kept)
    branches = [write(blocks, state).ids for state in (blocks.initial_state(1), kept, blocks.initial_state(1), kept)]
    gc.collect()
    np.testing.assert_array_equal(branches[0], branches[2])
    np.testing.assert_array_equal(branches[1], branches[3])
    np.testing.assert_array_equal(branches[1], write(loop, expected).ids)
    for name, array in expected.items():
        np.testing.assert_allclose(kept[name], array, atol=rounding)
        np.testing.assert_allclose(looked_at[name], array, atol=rounding)


@pytest.mark.parametrize(
    ("stream", "steps", "blocks"),
    [(False, 160, [64, 64]), (True, 160, [16] * 10), (True, 40, [16, 16]), (False, 20, [])],
)
@pytest.mark.parametrize("ends", [False, True])
def test_text_is_written_in_blocks_whether_it_is_streamed_or_not(
    pair, exported, monkeypatch, stream, steps, blocks, ends
):
    if ends and not stream:
        blocks = [16] * (steps // 16)  # a text that may end at any step
    loop, in_blocks = pair
    written = []
    write = BlockLoop.run

    def note(self, *arguments):
        written.append(self.steps)
        return write(self, *arguments)

    monkeypatch.setattr(BlockLoop, "run", note)
    run = SavedRun.open(in_blocks._export.path)
    options = {"length": steps, "seed": 4, "stop": ["no such text"] if ends else []}
    expected = TextGenerator(run, loop, "onnx").generate("The ", **options)
    assert written == []
    generator = TextGenerator(run, in_blocks, "onnx")
    found = "".join(generator.stream("The ", **options)) if stream else generator.generate("The ", **options)
    assert (found, written) == (expected, blocks)


def test_the_exported_block_is_the_exported_loop(make_run, tmp_path, rounding):
    run = make_run(tmp_path / "run", "lstm")
    report = api.export(run.path, options={"block": 7}, notice=lambda _: None)
    assert "block.onnx" in report.files
    folder = run.path / "onnx"
    inputs = {
        "last_ids": np.array([5]),
        "past.0.h": np.zeros((1, 6), np.float32),
        "past.0.c": np.zeros((1, 6), np.float32),
        "0.temperature.temperature": np.array([[0.8]], np.float32),
        "uniforms": uniforms(1, [0], 1, 7),
    }
    block, loop = (
        dict(zip([v.name for v in opened.get_outputs()], opened.run(None, inputs), strict=True))
        for opened in (
            open_session((folder / name).read_bytes(), name, "cpu") for name in ("block.onnx", "generate.onnx")
        )
    )
    assert set(block) == set(loop) == {"ids", "present.0.h", "present.0.c", "finished"}
    for name, array in loop.items():
        np.testing.assert_allclose(block[name], array, atol=rounding)


@pytest.mark.skipif(not why_no_cuda(), reason="CUDA works here")
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_cuda_that_does_not_work_is_never_replaced_by_the_cpu(make_block, cuda_graph):
    model = make_block("gru", "greedy").SerializeToString()
    with pytest.raises(UnavailableError, match=r"driver|CUDA"):
        open_session(model, "block", "cuda:0", cuda_graph=cuda_graph)


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("text", ["temperature(0.8) | multinomial", LONG])
def test_cuda_and_the_cpu_write_the_same_text(exported, cell, text):
    run = exported(cell, layers=2).run
    texts = [
        api.load(run.path, runtime="onnx", device=device).generate("The ", num=num, length=300, seed=3, sampler=text)
        for num in (1, 20)
        for device in ("cpu", "cuda")
    ]
    assert texts[0] == texts[1]
    # One text in twenty may differ, where rounding decides a near tie.
    assert sum(ours == theirs for ours, theirs in zip(texts[2], texts[3], strict=True)) >= 19


@pytest.mark.cuda
@needs_cuda
def test_cuda_and_the_cpu_compute_the_same_logits(exported):
    made = exported("lstm", layers=2)
    cuda = OnnxRuntime(Artifact.open(made.run.path / "onnx"), "cuda:0")
    ids = np.random.default_rng(0).integers(0, 30, (5, 200)).astype(np.int32)
    lengths = np.array([200, 0, 7, 199, 1], np.int32)
    logits, state = cuda.forward(ids, cuda.initial_state(5), lengths)
    expected, expected_state = made.numpy.forward(ids, made.numpy.initial_state(5), lengths)
    read = np.arange(200) < lengths[:, None]
    np.testing.assert_allclose(logits[read], expected[read], atol=1e-3)
    for name, array in expected_state.items():
        np.testing.assert_allclose(state[name], array, atol=1e-3)


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize("rows", [1, 4])
def test_states_stay_on_the_device(exported, chain, rows):
    cuda = OnnxRuntime(Artifact.open(exported("gru").run.path / "onnx"), "cuda:0")
    draw = Draw([chain("temperature(0.8) | multinomial")] * rows, cuda.vocab_size)
    state = cuda.prefill(np.ones((rows, 3), np.int32), cuda.initial_state(rows))
    for _ in range(3):
        block = cuda.generate(np.ones(rows, np.int32), state, draw, uniforms(0, range(rows), 1, LONG_BLOCK))
        state = block.state
        assert isinstance(state, DeviceState)
        assert {value.device_name() for _, value in state.values_on_device()} == {"cuda"}


@pytest.mark.cuda
@needs_cuda
@pytest.mark.parametrize(("cell", "text"), CASES)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_block_runs_entirely_on_cuda(make_block, cell, text, precision):
    model = make_block(cell, text, precision).SerializeToString()
    opened = open_session(model, "block", "cuda:0", cuda_graph=True)  # which forbids falling back
    assert opened.get_providers()[0] == "CUDAExecutionProvider"


def test_int8_products_have_no_cuda_kernel(make_network, chain):
    """CUDA has no kernel for products of unsigned and signed numbers: int8 exports stay on the CPU."""
    weights = GraphWeights.from_network(make_network("gru"), "int8")
    operators = {node.op_type for node in build_block(weights, chain("greedy"), (), None, steps=2, batch=1).graph.node}
    assert "MatMulInteger" in operators - set(CUDA_KERNELS)
