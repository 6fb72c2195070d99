"""Keras and ONNX: the same text, and graphs that come through tf2onnx."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.numpy

from textgen import api, hookimpl
from textgen.errors import ArtifactError
from textgen.exporting import parity
from textgen.generation.runtime import ModelRuntime
from textgen.model.model import Model
from textgen.model.state import State, StateSpec, TensorSpec
from textgen.runs.artifact import Artifact
from textgen.testing import registered
from textgen_onnx.runtime import OnnxRuntime

pytestmark = pytest.mark.keras

Process = tuple[Artifact, subprocess.CompletedProcess[str]]
CHAINS = [
    ("gru", "temperature(0.8) | multinomial"),
    ("lstm", "repetition-penalty(1.2) | top-k(12) | top-p(0.95) | multinomial"),
]


@pytest.mark.parametrize(("cell", "sampler"), CHAINS)
def test_one_seed_gives_one_text_in_every_runtime(texts, cell, sampler):
    written = [texts(cell, sampler, runtime) for runtime in ("keras", "numpy", "onnx")]
    # One text in a thousand may differ, where rounding decides a near tie.
    assert sum(len(set(row)) == 1 for row in zip(*written, strict=True)) >= 999


@pytest.fixture(scope="session")
def process(make_run, tmp_path_factory) -> Process:
    """A run that the command line exported through tf2onnx in a process of its own, and that process."""
    run = make_run(tmp_path_factory.mktemp("runs") / "run")
    command = [sys.executable, "-m", "textgen", "export", "--onnx", run.path, "--via", "tf2onnx"]
    environment = os.environ | {"TEXTGEN_PLUGINS": ""}  # plugins that happen to be installed may print something
    return run, subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


@pytest.fixture(scope="session", params=["gru of embeddings", "two lstm of one-hot"])
def converted(request, process: Process, make_run: Callable[..., Artifact], tmp_path_factory) -> Artifact:
    """A run exported through tf2onnx."""
    if request.param == "gru of embeddings":
        return process[0]
    run = make_run(tmp_path_factory.mktemp("runs") / "run", "lstm", width=None, layers=2)
    api.export(run.path, options={"via": "tf2onnx"}, notice=pytest.fail)
    return run


def test_tf2onnx_gives_the_same_signature(converted, tmp_path):
    api.export(converted.path, out=tmp_path / "plain", notice=lambda _: None)
    ends = []
    for folder in (converted.path / "onnx", tmp_path / "plain"):
        graph = onnx.load(folder / "step.onnx").graph
        ends.append(
            [
                {
                    value.name: (
                        value.type.tensor_type.elem_type,
                        [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim],
                    )
                    for value in values
                }
                for values in (graph.input, graph.output)
            ]
        )
    assert ends[0] == ends[1]


def test_tf2onnx_meets_the_same_bounds(converted):
    folder = converted.path / "onnx"
    assert {path.name for path in folder.iterdir()} == {
        ".gitattributes",
        "README.md",
        "SHA256SUMS",
        "golden.safetensors",
        "step.onnx",
        "textgen.json",
        "tokenizer.json",
    }
    about = json.loads((folder / "textgen.json").read_text())["export"]
    assert about["via"] == "tf2onnx"
    assert about["parity"]["max_logit_difference"] <= 1e-4
    model = onnx.load(folder / "step.onnx")
    assert model.ir_version == 8
    assert {opset.domain: opset.version for opset in model.opset_import}[""] == 17

    ours, numpy = (api.load(converted.path, runtime=runtime, device="cpu").runtime for runtime in ("onnx", "numpy"))
    ids = np.random.default_rng(0).integers(0, ours.vocab_size, (7, 300)).astype(np.int32)
    lengths = np.array([300, 0, 1, 299, 7, 150, 300], np.int32)
    logits, state = ours.forward(ids, ours.initial_state(7), lengths)
    expected, expected_state = numpy.forward(ids, numpy.initial_state(7), lengths)
    read = np.arange(300) < lengths[:, None]
    np.testing.assert_allclose(logits[read], expected[read], atol=1e-4, rtol=0)
    for name, array in expected_state.items():
        np.testing.assert_allclose(state[name], array, atol=1e-4)


def test_tf2onnx_writes_the_same_text_by_stepping(converted, tmp_path, capsys):
    for options in ({}, {"sampler": "greedy"}, {"num": 5, "repetition_penalty": 1.2}):
        texts = [
            api.load(converted.path, runtime=runtime, device="cpu").generate("The", length=100, seed=1, **options)
            for runtime in ("onnx", "numpy")
        ]
        assert texts[0] == texts[1]
    assert capsys.readouterr().err == ""
    assert isinstance(api.load(converted.path / "onnx").runtime, OnnxRuntime)


def test_the_graphs_of_tf2onnx_pass_the_checks_of_a_stranger(converted, tmp_path, monkeypatch):
    expected = api.load(converted.path, runtime="numpy").generate(["The", "T"], length=50, seed=2, num=3)
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "cache"))
    assert api.load(converted.path / "onnx").generate(["The", "T"], length=50, seed=2, num=3) == expected


def test_golden_vectors_of_tf2onnx_replay_in_plain_onnxruntime(converted, rounding):
    folder = converted.path / "onnx"
    golden = safetensors.numpy.load_file(folder / "golden.safetensors")
    session = onnxruntime.InferenceSession(folder / "step.onnx", providers=["CPUExecutionProvider"])
    feeds = {value.name: golden[f"step.{value.name}"] for value in session.get_inputs()}
    logits = session.run(["logits"], feeds)[0]
    read = np.arange(5) < golden["step.lengths"][:, None]
    np.testing.assert_allclose(logits[read], golden["step.logits"][read], atol=rounding)


def test_a_graph_of_tf2onnx_past_the_bound_leaves_nothing(converted, tmp_path, monkeypatch):
    graph = onnx.load(converted.path / "onnx" / "step.onnx")
    monkeypatch.setattr("textgen_onnx.graphs.from_keras.convert_step", lambda model: graph)
    monkeypatch.setattr(parity, "LOGITS_BOUND", -1.0)
    with pytest.raises(ArtifactError, match="nothing was written"):
        api.export(converted.path, out=tmp_path / "out", options={"via": "tf2onnx"})
    assert not list(tmp_path.iterdir())


class Pairs(Model):
    """Predicts an id from the two before it, by a table; it is not a stack, and has a step function and int32 state."""

    native_runtime = "pairs"

    @property
    def state_spec(self):
        return StateSpec((TensorSpec("before", (), "int32"),))

    parameter_count = 0

    def fit(self, dataset, run):
        raise NotImplementedError

    def weights(self):
        return {"table": self.table}

    def load_weights(self, tensors):
        self.table = tensors["table"]

    def forward(self, ids, state, lengths=None):
        read = np.concatenate([state["before"][:, None], ids], axis=1)
        last = np.full(len(ids), ids.shape[1]) if lengths is None else lengths
        return self.table[read[:, :-1], read[:, 1:]], State({"before": read[np.arange(len(ids)), last]})

    def keras_step(self):
        import tensorflow as tf

        def step(ids, lengths, before):
            read = tf.concat([before[:, None], ids], axis=1)
            pairs = tf.stack([read[:, :-1], read[:, 1:]], axis=2)
            return tf.gather_nd(tf.constant(self.table), pairs), tf.gather(read, lengths, axis=1, batch_dims=1)

        return step


class PairsPlugin:
    @hookimpl
    def textgen_register_models(self, register):
        register("pairs", Pairs)

    @hookimpl
    def textgen_register_runtimes(self, register):
        register("pairs", ModelRuntime)


def test_a_model_that_has_nothing_but_a_step_function(make_run, tmp_path, textgen, monkeypatch):
    run = make_run(tmp_path / "run")
    size = run.manifest.vocab_size
    run.manifest.settings["model"] = {"name": "pairs"}
    run.manifest.state_spec = StateSpec((TensorSpec("before", (), "int32"),)).to_json()
    table = np.random.default_rng(0).normal(0, 2, (size, size, size)).astype(np.float32)
    run.put("weights.safetensors", safetensors.numpy.save({"table": table}))
    run.commit()
    with registered(PairsPlugin()):
        done = textgen("export", "--onnx", run.path)
        assert done.code == 2
        assert "export it with --via tf2onnx" in done.err
        assert not (run.path / "onnx").exists()

        api.export(run.path, options={"via": "tf2onnx"}, notice=pytest.fail)
        monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "cache of a stranger"))
        texts = [
            api.load(run.path, runtime=runtime, device="cpu").generate("The", num=3, length=80, seed=1)
            for runtime in ("onnx", "pairs")
        ]
    assert texts[0] == texts[1]


def test_a_model_without_a_step_function(make_run, tmp_path, textgen, monkeypatch):
    run = make_run(tmp_path / "run")
    monkeypatch.setattr("textgen_keras.models.RecurrentModel.keras_step", lambda self: None)
    done = textgen("export", "--onnx", run.path, "--via", "tf2onnx")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "no Keras step function" in done.err


def test_tf2onnx_prints_nothing_of_its_own(process):
    run, done = process
    assert done.stdout == f"{run.path / 'onnx'}\n"
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
        "max logit difference",
        "greedy agreement",
        "loss",
        "export loss",
        "loss increase",
        str(run.path / "onnx"),
        "write text with",
    ]
