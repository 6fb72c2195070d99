"""Networks with an n-gram mixed in, and n-grams alone: graphs compute what NumPy computes, and files stay small."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from textgen import ContextTree, NGramCounts, api
from textgen.errors import ArtifactError, UnsupportedModelError
from textgen.ngrams.pruning import make_tree as whole_tree
from textgen.runs.artifact import Artifact
from textgen.saved_run import SavedRun
from textgen.text_generator import TextGenerator
from textgen_numpy.runtime import NumpyRuntime
from textgen_onnx.contract import Description
from textgen_onnx.graphs.generate import build_generate
from textgen_onnx.graphs.ngram import describe_ngram, pack_ngram, unpack_ngram
from textgen_onnx.graphs.reading import read_weights
from textgen_onnx.graphs.step import build_step
from textgen_onnx.graphs.weights import GraphWeights
from textgen_onnx.running.session import open_session
from textgen_onnx.runtime import OnnxRuntime

LONG = "repetition-penalty(1.2) | temperature(0.9) | top-k(12) | top-p(0.95) | min-p(0.02) | multinomial"


def expected_of(network, ids, state, lengths):
    """Logits, and the state after them, of a network or a tree."""
    if not isinstance(network, ContextTree):
        return NumpyRuntime(network).forward(ids, state, lengths)
    contexts = network.read(ids, state["context"])
    return network.logits[contexts[:, 1:]], {"context": network.advance(ids, state["context"], lengths)[1]}


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["gru", "lstm", "none"]),
    st.integers(1, 30),
    st.integers(2, 7),
    st.integers(2, 300),
    st.lists(st.integers(0, 9), min_size=1, max_size=5),
    st.integers(0, 2**32 - 1),
)
def test_logits_and_states_are_those_of_numpy(make_network, make_tree, cell, vocab, order, contexts, lengths, seed):
    tree = make_tree(vocab, contexts, order, seed=seed)
    network: Any = (
        tree
        if cell == "none"
        else replace(make_network(cell, layers=2, vocab=vocab), ngram=tree, powers=np.array([0.8, 0.7], np.float32))
    )
    weights = GraphWeights.from_network(network)
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, vocab, (len(lengths), 9)).astype(np.int32)
    state = dict(weights.state_spec.initial_state(len(lengths)))
    state["context"] = rng.integers(0, len(tree), len(lengths)).astype(np.int32)
    session = open_session(build_step(weights).SerializeToString(), "step", "cpu")
    names = [value.name for value in session.get_outputs()]
    feeds = {"ids": ids.astype(np.int64), "lengths": np.array(lengths)}
    found = dict(zip(names, session.run(names, feeds | {f"past.{n}": a for n, a in state.items()}), strict=True))
    logits, after = expected_of(network, ids, state, np.array(lengths, np.int32))
    read = np.arange(9) < np.array(lengths)[:, None]
    np.testing.assert_allclose(found["logits"][read], logits[read], atol=1e-5)
    np.testing.assert_array_equal(found["present.context"], after["context"])
    assert found["present.context"].dtype == np.int32
    for name, array in after.items():
        np.testing.assert_allclose(found[f"present.{name}"], array, atol=1e-5)


@given(st.integers(1, 300), st.integers(2, 5), st.integers(2, 200), st.integers(0, 2**32 - 1), st.data())
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_a_tree_is_read_as_it_was_written(make_tree, vocab, order, contexts, seed, data):
    tree = make_tree(vocab, contexts, order, seed=seed)
    old_ids = data.draw(st.none() | st.permutations([*range(vocab)]))
    if old_ids is not None:  # as after training on another text: ids have moved, are new, or are gone
        tree = tree.with_ids(np.array([-1, *old_ids[: len(old_ids) // 2 + 1]], np.int32))
    if data.draw(st.booleans()):
        tree = tree.rounded()
        assert pack_ngram(tree)["ngram.own"].dtype == np.float16
    read = unpack_ngram(pack_ngram(tree), tree.vocab_size)
    for name, array in tree.tensors().items():
        np.testing.assert_array_equal(read.tensors()[name], array, strict=True)


@pytest.fixture(scope="module", params=["gru", "lstm", "ngram"])
def run(request, exported, tmp_path_factory) -> Path:
    """An exported run with an n-gram."""
    if request.param != "ngram":
        folder: Path = exported(request.param, layers=2, contexts=60).run.path
        return folder
    folder = tmp_path_factory.mktemp("runs") / "run"
    text = "the cat sat on the mat, and the dog sat on the log.\n" * 20
    api.train(text=text, model="ngram", out=folder, settings={"training": {"sample_every": 0}})
    api.export(folder, options={"block": 5}, notice=pytest.fail)
    return folder


@pytest.mark.parametrize("sampler", ["greedy", "temperature(0.8) | multinomial", LONG])
def test_the_text_is_that_of_numpy(run, sampler):
    options: dict[str, Any] = {"num": 20, "length": 200, "seed": 5, "sampler": sampler}
    ours, theirs = (api.load(run, runtime=name).generate("the ", **options) for name in ("onnx", "numpy"))
    assert ours == theirs
    assert sampler == "greedy" or len(set(ours)) > 10


def test_text_does_not_depend_on_chunks_or_on_the_rows_beside_it(run):
    generator = api.load(run, runtime="onnx")
    options: dict[str, Any] = {"length": 60, "seed": 5}
    whole: Any = generator.generate("the ", num=9, **options)
    assert generator.generate("the ", num=9, chunk=7, **options) == whole
    assert [generator.generate("the ", rows=[row], **options) for row in range(9)] == whole


def test_reading_in_parts_is_reading_at_once(run, rounding):
    runtime = api.load(run, runtime="onnx").runtime
    ids = np.random.default_rng(0).integers(0, runtime.vocab_size, (3, 50)).astype(np.int32)
    whole, end = runtime.forward(ids, runtime.initial_state(3))
    first, state = runtime.forward(ids[:, :17], runtime.initial_state(3))
    second, state = runtime.forward(ids[:, 17:], state)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, atol=rounding)
    np.testing.assert_array_equal(state["context"], end["context"])
    assert len(set(end["context"].tolist()) - {0, 1}) > 0


def test_blocks_write_the_same_text(run):
    export, saved = Artifact.open(run / "onnx"), SavedRun.open(run)
    loop, blocks = (OnnxRuntime(export, "cpu", blocks=blocks) for blocks in (False, True))
    texts = [TextGenerator(saved, each, "onnx").generate("the ", length=300, seed=2) for each in (loop, blocks)]
    assert texts[0] == texts[1]
    assert blocks._blocks


@pytest.mark.parametrize("trust", ["weights", "graph"])
def test_the_graphs_of_a_stranger_are_what_its_weights_give(run, monkeypatch, tmp_path, trust):
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "cache"))
    expected = api.load(run, runtime="numpy").generate("the ", length=50, seed=3)
    copy = shutil.copytree(run / "onnx", tmp_path / "export")
    assert api.load(copy, trust=trust).generate("the ", length=50, seed=3) == expected
    if trust == "weights":
        assert len(os.listdir(tmp_path / "cache" / "graphs")) == 2  # the very bytes came out


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_precision_leaves_the_n_gram_as_it_is(exported, precision):
    tensors = [
        {
            tensor.name: numpy_helper.to_array(tensor)
            for tensor in onnx.load(made.run.path / "onnx" / "step.onnx").graph.initializer
            if tensor.name.startswith("ngram.")
        }
        for made in (exported("gru", contexts=60, precision=each) for each in ("fp32", precision))
    ]
    assert tensors[0].keys() == tensors[1].keys() != set()
    for name, array in tensors[0].items():
        np.testing.assert_array_equal(tensors[1][name], array, strict=True)


def test_tables_are_made_when_a_session_opens(make_network, chain, tmp_path):
    """Nothing of them is left to be computed in a run."""
    weights = GraphWeights.from_network(make_network("gru", contexts=60))
    for model in (build_step(weights), build_generate(weights, chain("greedy"), (0,), None)):
        assert {"CumSum", "NonZero", "ScatterND"} <= {node.op_type for node in model.graph.node}
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        options.log_severity_level = 4
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        graph = onnx.load(tmp_path / "optimized.onnx").graph
        known = {value.name for value in graph.input}
        for node in graph.node:
            assert known & {*node.input}, node.op_type
            known.update(node.output)


def test_batches_of_all_sizes_share_the_tables(run, monkeypatch, opened):
    monkeypatch.setattr("textgen_onnx.running.threads.usable_cores", lambda: 1)
    generator = api.load(run, runtime="onnx")
    for num in (1, 3, 9, 40):
        generator.generate("the ", num=num, length=5)
    assert len(opened) == 2  # one that reads, one that writes


def test_an_export_grows_by_what_the_tree_takes(exported):
    sizes = []
    for contexts in (0, 60):
        made = exported("gru", contexts=contexts)
        sizes.append(sum(path.stat().st_size for path in (made.run.path / "onnx").glob("*.onnx")))
    arrays = pack_ngram(made.network.ngram)
    assert sizes[1] - sizes[0] <= 2 * (sum(array.nbytes for array in arrays.values()) + 2**14)


@pytest.mark.slow
def test_an_export_of_fifty_thousand_contexts_grows_by_less_than_4_mb(data_dir):
    text = (data_dir / "shakespeare.txt").read_text(encoding="utf-8")
    characters, ids = np.unique([*text], return_inverse=True)
    counts, base, order = NGramCounts(8, len(characters)), len(characters) + 1, 8
    codes = np.zeros(len(ids), np.int64)
    for before in range(order):
        codes[before:] += (ids[: len(ids) - before] + 1) * base**before
    counts.add(codes)
    tree = whole_tree(counts, 50_000)
    assert len(tree) > 49_000
    assert 2 * sum(array.nbytes for array in pack_ngram(tree).values()) < 3.6e6


def test_tf2onnx_says_to_leave_it_out(exported):
    with pytest.raises(UnsupportedModelError, match=r"n-gram; leave --via out"):
        api.export(exported("gru", contexts=60).run.path, options={"via": "tf2onnx"})


@pytest.mark.parametrize("context", [-1, -(2**31), "N", 2**31 - 1])
def test_a_state_with_a_context_that_there_is_not(run, textgen, tmp_path, context):
    file = tmp_path / "a.state"
    arguments = ("sample", run, "--runtime", "onnx", "--length", 9)
    assert textgen(*arguments, "--prompt", "the ", "--save-state", file).code == 0
    assert textgen(*arguments, "--load-state", file).code == 0
    arrays = safetensors.numpy.load_file(file)
    with file.open("rb") as stream:
        metadata = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))["__metadata__"]
    about = json.loads((run / "onnx" / "textgen.json").read_text())["export"]["ngram"]
    arrays["context"] = np.array([about["contexts"] if context == "N" else context], np.int32)
    safetensors.numpy.save_file(arrays, file, metadata)
    done = textgen(*arguments, "--load-state", file)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert f"whose n-gram has {about['contexts']:,} contexts" in done.err
    runtime = OnnxRuntime.open(Artifact.open(run), pytest.fail, "cpu")
    state = runtime.initial_state(1)
    state["context"][:] = arrays["context"]
    with pytest.raises(ArtifactError, match="does not belong to this model"):
        runtime.prefill(np.array([[1]], np.int32), state)


def with_value(name: str, index: int, value: float):
    def change(tensors) -> None:
        tensors[f"ngram.{name}"][index] = value

    return change


DAMAGES = {
    "a cycle of suffixes": with_value("suffixes", 9, 9),
    "a suffix that comes later": with_value("suffixes", 9, 50),
    "the suffix of the empty context": with_value("suffixes", 0, 1),
    "no such entry": with_value("led_from", 9, 255),
    "an entry of another context": with_value("led_from", 9, 1),
    "the beginning again": with_value("led_from", 1, 1),
    "an entry twice": with_value("gaps", 3, 0),
    "an entry behind the last": with_value("gaps", 3, 200),
    "a share of none": with_value("shares", 3, 0),
    "a share above all bounds": with_value("shares", 3, 2e4),
    "less than nothing": with_value("own", 3, -0.1),
    "too much": with_value("own", 3, 2e4),
    "not a number": with_value("own", 3, np.nan),
    "a negative power": with_value("power", 0, -0.1),
    "a power above all bounds": with_value("power", 0, 101),
    "an infinite share": with_value("shares", 3, np.inf),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("cell", ["gru", "none"])
def test_tensors_that_are_no_tree(make_network, make_tree, cell, damage):
    tree = make_tree(7, 60)
    weights = GraphWeights.from_network(tree if cell == "none" else make_network(cell, contexts=60))
    units = {"cell": cell, "units": [6]} if cell == "gru" else {}
    about = Description(via="weights", ngram=describe_ngram(tree), **units)
    model = build_step(weights)
    assert read_weights(model.SerializeToString(), about, 7).ngram is not None
    tensors = {each.name: numpy_helper.to_array(each).copy() for each in model.graph.initializer}
    DAMAGES[damage](tensors)
    for each in model.graph.initializer:
        each.CopyFrom(numpy_helper.from_array(tensors[each.name], each.name))
    with pytest.raises(ArtifactError, match=r"the n-gram is damaged|is not finite"):
        read_weights(model.SerializeToString(), about, 7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contexts": 1}, "ngram.contexts"),
        ({"contexts": 10**12}, "ngram.contexts"),
        ({"contexts": 59.0}, "ngram.contexts"),
        ({"entries": -1}, "ngram.entries"),
        ({"largest_gap": "2"}, "ngram.largest_gap"),
        ({"is_half": 1}, "ngram.is_half"),
        ({"order": 3}, "ngram.order"),
        ({"contexts": 2**30}, "does not belong to this model"),
        ({"entries": 2**30}, "does not belong to this model"),
        ({"largest_gap": 2**30}, "does not belong to this model"),
        (None, "its state is not that of"),
    ],
)
def test_a_description_that_is_not_of_the_file(run, textgen, monkeypatch, tmp_path, change, message):
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "cache"))
    export = Artifact.open(shutil.copytree(run / "onnx", tmp_path / "export"))
    assert export.manifest.export is not None
    about = export.manifest.export
    about["ngram"] = change and {**about["ngram"], **change}
    export.commit()
    done = textgen("sample", export.path, "--runtime", "onnx", "--prompt", "the ")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert message in done.err or (about["cell"] is None and "no cell" in done.err)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_session_keeps_little_more_memory_than_its_tables(make_network, chain, tmp_path):
    counts = NGramCounts(4, 60)
    counts.add(np.random.default_rng(0).integers(1, 61, (60_000, 4)) @ 61 ** np.arange(4))
    tree = whole_tree(counts, 20_000)
    network = replace(make_network("gru", vocab=60), ngram=tree)
    graph = build_generate(GraphWeights.from_network(network), chain("greedy"), (), None)
    (tmp_path / "graph.onnx").write_bytes(graph.SerializeToString())
    program = (
        "from pathlib import Path\n"
        "from textgen_onnx.running.session import open_session\n"
        "def kept(): return int(Path('/proc/self/status').read_text().split('VmRSS:')[1].split()[0])\n"
        "before = kept()\n"
        "session = open_session(Path('graph.onnx').read_bytes(), 'graph.onnx', 'cpu')\n"
        "print(kept() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    tables = len(tree) * 60 * 8 / 1024
    assert int(done.stdout) < 2 * tables + 20_000
