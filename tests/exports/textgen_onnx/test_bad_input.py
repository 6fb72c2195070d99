"""Exports that are damaged, foreign or stale: one line that says so, exit code 2, and no text."""

import json
import shutil
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from textgen import api
from textgen.artifact import Artifact
from textgen_onnx import session

CELLS = ("gru", "lstm")


@pytest.fixture(scope="module")
def exported(make_run, tmp_path_factory) -> Artifact:
    """An export, not to be changed."""
    run = make_run(tmp_path_factory.mktemp("runs") / "run", "lstm")
    api.export(run.path, notice=pytest.fail)
    return Artifact.open(run.path / "onnx")


@pytest.fixture
def export(exported, tmp_path) -> Artifact:
    """A copy of an export, away from its run."""
    shutil.copytree(exported.path, tmp_path / "export")
    return Artifact.open(tmp_path / "export")


@pytest.fixture
def refused(textgen) -> Callable[..., str]:
    """Samples from a folder, which must fail; gives what is said."""

    def sample(folder, *arguments: object, prompt: str = "The", runtime: str = "onnx") -> str:
        told = textgen("sample", folder, "--runtime", runtime, "--prompt", prompt, "--length", 5, *arguments)
        assert (told.code, told.out) == (2, "")
        assert told.err.startswith("textgen: error: ")
        assert told.err.count("\n") == 1
        return told.err

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
    export.manifest.format_version += 1
    export.commit()
    assert "install a later textgen-rnn" in refused(export.path)


def test_an_export_of_another_kind(export, refused):
    export.manifest.export["format"] = "tflite"
    export.commit()
    assert "holds no ONNX export" in refused(export.path)


def test_a_run_without_an_export(make_run, tmp_path, refused):
    run = make_run(tmp_path / "run")
    assert f"textgen export --onnx {run.path}" in refused(run.path)


@pytest.mark.parametrize("runtime", ["numpy", "keras"])
def test_an_export_in_a_runtime_that_needs_the_weights(export, refused, runtime):
    if runtime == "keras":
        pytest.importorskip("tensorflow")
    assert "use --runtime onnx" in refused(export.path, runtime=runtime)


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


@pytest.mark.skipif(session.why_no_cuda() == "", reason="CUDA works here")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_where_it_does_not_work(export, refused, device):
    error = refused(export.path, "--device", device)
    assert session.why_no_cuda() in error
    assert "--device cpu" in error


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:0", "cuda:"])
def test_a_device_that_does_not_exist(export, refused, device):
    assert "there are: auto, cpu, cuda, cuda:N" in refused(export.path, "--device", device)
