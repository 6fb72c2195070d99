"""Exports that are damaged, stale, or of another model: one line that says so, exit code 2, and no text."""

import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from textgen import api
from textgen.errors import UnavailableError
from textgen.runs.artifact import Artifact
from textgen_onnx.running.cuda import why_no_cuda


@pytest.fixture
def export(exported, tmp_path) -> Artifact:
    """A copy of an export, away from its run."""
    shutil.copytree(exported("lstm").run.path / "onnx", tmp_path / "export")
    return Artifact.open(tmp_path / "export")


@pytest.fixture
def refused(textgen) -> Callable[..., str]:
    """Samples from a folder, which must fail; returns the error."""

    def sample(folder, *arguments: object, prompt: str = "The", runtime: str = "onnx") -> str:
        done = textgen("sample", folder, "--runtime", runtime, "--prompt", prompt, "--length", 5, *arguments)
        assert (done.code, done.out) == (2, "")
        error: str = done.err
        assert error.startswith("textgen: error: ")
        assert error.count("\n") == 1
        return error

    return sample


@pytest.mark.parametrize("name", ["step.onnx", "generate.onnx", "tokenizer.json"])
def test_a_truncated_file(export, refused, name):
    path = export.path / name
    path.write_bytes(path.read_bytes()[:-9])
    assert "truncated or altered" in refused(export.path)


@pytest.mark.parametrize("name", ["step.onnx", "generate.onnx", "tokenizer.json"])
def test_an_altered_file(export, refused, name):
    path = export.path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "was altered" in refused(export.path)


@pytest.mark.parametrize("name", ["step.onnx", "generate.onnx", "tokenizer.json"])
def test_a_missing_file(export, refused, name):
    (export.path / name).unlink()
    assert f"{name} is missing" in refused(export.path)


def test_a_missing_manifest(export, refused):
    (export.path / "textgen.json").unlink()
    assert "has no textgen.json" in refused(export.path)


def test_a_manifest_of_a_later_format(export, refused):
    path = export.path / "textgen.json"
    later = f'"format_version":{export.manifest.format_version + 1}'
    path.write_text(path.read_text().replace('"format_version": 2', later))
    assert later in path.read_text()
    assert "install a later textgen-rnn" in refused(export.path)


def test_an_export_of_another_kind(export, refused):
    export.manifest.export["format"] = "tflite"
    export.commit()
    assert "is not an ONNX export" in refused(export.path)


def test_a_run_without_an_export(make_run, tmp_path, refused):
    run = make_run(tmp_path / "run")
    assert f"textgen export --onnx {run.path}" in refused(run.path)


def test_an_export_in_a_runtime_that_needs_the_weights(export, refused):
    assert f"textgen sample {export.path} --runtime onnx" in refused(export.path, runtime="numpy")


def test_an_export_of_former_weights(make_run, tmp_path, textgen, refused):
    run = make_run(tmp_path / "run")
    api.export(run.path)
    make_run(tmp_path / "run", seed=1)
    error = refused(run.path)
    assert "other weights" in error
    assert f"textgen export --onnx {run.path}" in error

    arguments = ("sample", run.path, "--seed", 3, "--length", 20)
    assert textgen(*arguments) == textgen(*arguments, "--runtime", "numpy")
    api.export(run.path)
    assert textgen(*arguments, "--runtime", "onnx").code == 0


@pytest.mark.skipif(why_no_cuda() == "", reason="CUDA works here")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_where_it_does_not_work(export, refused, device):
    error = refused(export.path, "--device", device)
    assert why_no_cuda() in error
    assert "--device cpu" in error


@pytest.mark.skipif(why_no_cuda() == "", reason="CUDA works here")
def test_the_reason_why_the_fastest_runtime_fails_is_given_if_no_other_can_replace_it(exported, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")  # the model's own runtime is not available
    with pytest.raises(UnavailableError, match=re.escape(why_no_cuda())):
        api.load(exported("lstm").run.path, device="cuda")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:0", "cuda:"])
def test_a_device_that_does_not_exist(export, refused, device):
    assert "there are: auto, cpu, cuda, cuda:N" in refused(export.path, "--device", device)


#: Commands that make the runtime read a graph: a prompt of several characters reads step.onnx, one of a single
#: character generate.onnx alone; a chain other than the exported one is built from the weights in step.onnx.
READERS: dict[str, list[tuple[str, tuple[str, ...]]]] = {
    "step.onnx": [("The", ()), ("T", ("--sampler", "greedy"))],
    "generate.onnx": [("T", ())],
}
BOTH = [(name, *reader) for name, readers in READERS.items() for reader in readers]


def replace_graph(export: Artifact, name: str, edit: Callable[[onnx.ModelProto], bytes | None]) -> None:
    """Change a graph, and the recorded hash."""
    model = onnx.load_from_string((export.path / name).read_bytes())
    export.put(name, edit(model) or model.SerializeToString())
    export.commit()


def every_graph(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from every_graph(attribute.g)


def rename(model: onnx.ModelProto, old: str, new: str = "another") -> None:
    """Give an input, output or initializer another name, wherever it is used."""
    for graph in every_graph(model.graph):
        for value in (*graph.input, *graph.output, *graph.initializer):
            value.name = new if value.name == old else value.name
        for node in graph.node:
            node.input[:] = [new if name == old else name for name in node.input]
            node.output[:] = [new if name == old else name for name in node.output]


STEP = [("step.onnx", *reader) for reader in READERS["step.onnx"]]


@pytest.mark.parametrize(("name", "prompt", "arguments"), [*STEP, ("generate.onnx", "T", ("--trust-graph",))])
@pytest.mark.parametrize("content", [b"", b"This is not a graph."])
def test_a_file_that_is_not_a_graph(export, refused, name, prompt, arguments, content):
    export.put(name, content)
    export.commit()
    assert name in refused(export.path, *arguments, prompt=prompt)


@pytest.mark.parametrize(("name", "prompt", "arguments"), STEP)
def test_external_data_even_if_it_is_there(export: Artifact, refused, monkeypatch, name, prompt, arguments):
    def move_out(model: onnx.ModelProto) -> bytes:
        monkeypatch.chdir(export.path)
        options: dict[str, Any] = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 100}
        onnx.save_model(model, "moved.onnx", **options)
        assert (export.path / "weights.bin").stat().st_size > 1000
        return (export.path / "moved.onnx").read_bytes()

    replace_graph(export, name, move_out)
    assert "does not belong to this model" in refused(export.path, *arguments, prompt=prompt)


STEP_NAMES = ["ids", "lengths", "past.0.h", "past.0.c", "logits", "present.0.h"]
LOOP_NAMES = ["last_ids", "uniforms", "past.0.c", "0.temperature.temperature", "ids", "present.0.c"]
NAMES = [("step.onnx", name) for name in STEP_NAMES] + [("generate.onnx", name) for name in LOOP_NAMES]


@pytest.mark.parametrize(("name", "tensor"), NAMES)
def test_other_names(export, refused, name, tensor):
    replace_graph(export, name, lambda model: rename(model, tensor))
    assert f"put {tensor} is not" in refused(export.path, "--json", "--trust-graph")


def test_weights_of_other_names(export, refused):
    replace_graph(export, "step.onnx", lambda model: rename(model, "head.bias"))
    assert "does not hold the weights" in refused(export.path, "--sampler", "greedy")


def test_an_additional_input(export, refused):
    def add(model: onnx.ModelProto) -> None:
        model.graph.input.append(helper.make_tensor_value_info("another", TensorProto.FLOAT, ["batch"]))

    replace_graph(export, "generate.onnx", add)
    assert "has the input another" in refused(export.path, "--trust-graph")


FEWER, MORE = "abc" * 99, "".join(map(chr, range(33, 99))) * 3


OTHERS = ({"units": 5}, {"layers": 2}, {"cell": "gru"}, {"text": FEWER}, {"text": MORE})


@pytest.mark.parametrize(
    ("name", "prompt", "arguments", "other"),
    [
        (name, prompt, (*arguments, *trust), other)
        for name, prompt, arguments, trust in [*((*reader, ()) for reader in STEP), (*BOTH[-1], ("--trust-graph",))]
        for other in OTHERS
        # A graph that returns nothing but ids of a smaller vocabulary looks like one of this model.
        if (name, other) != ("generate.onnx", {"text": FEWER})
    ],
)
def test_a_graph_of_another_model(exported, export, refused, name, prompt, arguments, other):
    export.put(name, (exported(**{"cell": "lstm"} | other).run.path / "onnx" / name).read_bytes())
    export.commit()
    assert "does not belong to this model" in refused(export.path, "--length", "300", *arguments, prompt=prompt)


@pytest.mark.parametrize("name", ["step.onnx", "generate.onnx"])
def test_a_later_opset(export, refused, name):
    replace_graph(export, name, lambda model: setattr(model.opset_import[0], "version", 99))
    assert "Opset 99 is under development" in refused(export.path, "--trust-graph")


@pytest.mark.parametrize("name", ["step.onnx", "generate.onnx"])
def test_a_later_ir_version(export, refused, name):
    replace_graph(export, name, lambda model: setattr(model, "ir_version", 99))
    assert "max supported IR version" in refused(export.path, "--trust-graph")


def test_an_operator_that_does_not_exist(export, refused):
    replace_graph(export, "step.onnx", lambda model: setattr(model.graph.node[0], "op_type", "Teleport"))
    assert "Teleport" in refused(export.path, "--trust-graph")
