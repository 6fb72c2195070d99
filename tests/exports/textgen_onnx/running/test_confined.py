"""Graphs that run because their source is trusted: the same text as elsewhere, stopped with their command."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from textgen import api
from textgen.runs.artifact import Artifact

PROC = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux: memory limits and /proc")


@pytest.fixture
def export(exported, tmp_path, monkeypatch) -> Artifact:
    """An export that textgen built, on a machine that has not seen it."""
    shutil.copytree(exported().run.path / "onnx", tmp_path / "export")
    monkeypatch.setenv("TEXTGEN_CACHE_DIR", str(tmp_path / "cache"))
    return Artifact.open(tmp_path / "export")


@pytest.fixture
def hostile(export: Artifact) -> Callable[..., Artifact]:
    """Replaces the graph by one that adds 0 times the output ``extra`` of some nodes to its logits."""

    def replace(*nodes: onnx.NodeProto, **tensors: Any) -> Artifact:
        vocab, value = export.manifest.vocab_size, helper.make_tensor_value_info
        given = {"table": np.eye(vocab, dtype=np.float32), "zero": np.float32(0), **tensors}
        graph = helper.make_graph(
            [
                helper.make_node("Gather", ["table", "ids"], ["looked.up"]),
                helper.make_node("Identity", ["past.0.h"], ["present.0.h"]),
                *nodes,
                helper.make_node("ReduceMax", ["extra"], ["one"], keepdims=0),
                helper.make_node("Mul", ["one", "zero"], ["nothing"]),
                helper.make_node("Add", ["looked.up", "nothing"], ["logits"]),
            ],
            "hostile",
            [
                value("ids", TensorProto.INT64, ["batch", "sequence"]),
                value("lengths", TensorProto.INT64, ["batch"]),
                value("past.0.h", TensorProto.FLOAT, ["batch", 6]),
            ],
            [
                value("logits", TensorProto.FLOAT, ["batch", "sequence", vocab]),
                value("present.0.h", TensorProto.FLOAT, ["batch", 6]),
            ],
            initializer=[numpy_helper.from_array(np.asarray(array), name) for name, array in given.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        export.put("step.onnx", model.SerializeToString())
        (export.path / "generate.onnx").unlink()
        del export.manifest.files["generate.onnx"]
        assert export.manifest.export is not None
        export.manifest.export |= {"via": "tf2onnx", "generate": None}
        export.commit()
        return export

    return replace


@pytest.fixture
def endless(hostile: Callable[..., Artifact]) -> Artifact:
    """An export that loops for centuries."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["still"]), helper.make_node("Add", ["before", "zero"], ["after"])],
        "body",
        [value("i", TensorProto.INT64, []), value("on", TensorProto.BOOL, []), value("before", 1, [])],
        [value("still", TensorProto.BOOL, []), value("after", TensorProto.FLOAT, [])],
    )
    return hostile(helper.make_node("Loop", ["many", "", "zero"], ["extra"], body=body), many=np.int64(2**62))


def test_the_text_is_the_same(export, exported):
    options: dict[str, Any] = {"num": 3, "length": 80, "seed": 4}
    for prompt in ("The", "T"):
        confined = api.load(export.path, trust="graph").generate(prompt, **options)
        assert confined == api.load(exported().run.path, runtime="numpy").generate(prompt, **options)


@PROC
@pytest.mark.parametrize("size", [4 * 10**8, 2**45])
def test_more_memory_than_allowed_is_one_line(hostile, textgen, size):
    export = hostile(helper.make_node("ConstantOfShape", ["size"], ["extra"]), size=np.array([size]))
    assert (export.path / "step.onnx").stat().st_size < 6000
    done = textgen("sample", export.path, "--runtime", "onnx", "--prompt", "The", "--length", 5, "--trust-graph")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "step.onnx" in done.err


@PROC
def test_the_memory_that_is_named_counts_copies_of_the_graph(hostile, textgen):
    extra = helper.make_node("ConstantOfShape", ["size"], ["extra"])
    export = hostile(extra, size=np.array([4 * 10**8]), ballast=np.zeros(5 * 2**20, np.float32))
    done = textgen("sample", export.path, "--runtime", "onnx", "--prompt", "The", "--length", 5, "--trust-graph")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "it may use 632 MB" in done.err


@PROC
def test_it_is_started_again_after_it_was_stopped(export):
    others = children(os.getpid())
    generator = api.load(export.path, trust="graph")
    text = generator.generate("The", length=20, seed=1)
    started = [pid for pid in children(os.getpid()) if pid not in others]
    assert started
    for pid in started:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, started)))
    assert generator.generate("The", length=20, seed=1) == text


def children(parent: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def is_alive(pid: int) -> bool:
    """Whether any of its threads is: a killed process cannot be waited for before the last one has ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" or len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def seconds_of(pid: int) -> float:
    """The processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@PROC
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_graph_without_end_is_stopped_with_its_command(endless, number):
    command = [sys.executable, "-m", "textgen", "sample", endless.path, "--prompt", "The", "--trust-graph"]
    with subprocess.Popen([*command, "--runtime", "onnx"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            wait_for(lambda: children(process.pid))
            child = children(process.pid)[0]
            wait_for(lambda: seconds_of(child) > 1.5)  # imports are over, and the loop is under way
            process.send_signal(number)
            began = time.monotonic()
            process.communicate(timeout=20)
            assert time.monotonic() - began < 5
            assert process.returncode != 0
            wait_for(lambda: not is_alive(child), 5)
        finally:
            process.kill()


@PROC
def test_none_is_left_when_a_generator_is_dropped(export):
    others = children(os.getpid())
    generator = api.load(export.path, trust="graph")
    generator.generate("The", length=5)
    started = [pid for pid in children(os.getpid()) if pid not in others]
    assert started
    del generator
    gc.collect()
    wait_for(lambda: not any(map(is_alive, started)), 5)
