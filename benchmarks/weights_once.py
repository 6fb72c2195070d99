"""What the two graphs of an ONNX export would cost if they had their weights in common.

``python -m benchmarks.weights_once`` compares, for random models:

- two: ``step.onnx`` and ``generate.onnx``, each with the weights, as exports have them;
- if: one file, in which an input chooses one of two branches, and the weights are in the graph around both;
- joined: a file of weights, to whose bytes a host appends those of a graph without them. ONNX Runtime reads that as one
  graph, since messages of protocol buffers that follow each other are merged;
- referring: ``generate.onnx`` names the places of its weights in ``step.onnx``, as external data.

Each is measured in a process of its own, with one thread, in turns. Of each time, which is that of the processor, the
least is printed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.subjects import GRU_1024, LSTM_128
from benchmarks.textgen_runs import make_runs

WAYS = ("two", "if", "joined", "referring")

#: Of a turn: rows and steps of the calls that are measured, and how often each is repeated.
CALLS = {"one row": (1, 200, 5), "16 rows": (16, 40, 5), "a call of one step": (1, 1, 200)}

TURNS = 4

#: Tensors of fewer bytes stay where they are.
SMALL = 512


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph and those in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def _take_weights(graph: Any) -> dict[str, Any]:
    """Removes the weights from a graph and those in it; returns them by name."""
    taken: dict[str, Any] = {}
    for each in _graphs(graph):
        found = [tensor for tensor in each.initializer if len(tensor.raw_data) >= SMALL]
        for tensor in found:
            each.initializer.remove(tensor)
        taken |= {tensor.name: tensor for tensor in found}
    return taken


def _rename(graph: Any, change: Callable[[str], str]) -> None:
    """Renames every value in a graph and those in it."""
    for each in _graphs(graph):
        for value in [*each.initializer, *each.input, *each.output, *each.value_info]:
            value.name = change(value.name)
        for node in each.node:
            node.input[:], node.output[:] = map(change, node.input), map(change, node.output)


def _choosing(folder: Path) -> bytes:
    """One graph, whose input ``reads`` chooses one of the two; outputs begin with ``step.`` or ``generate.``."""
    import onnx
    from onnx import TensorProto, helper

    graphs = {name: onnx.load(folder / f"{name}.onnx").graph for name in ("step", "generate")}
    weights: dict[str, Any] = {}
    inputs = {value.name: value for graph in graphs.values() for value in graph.input}
    outputs = []
    for name, graph in graphs.items():
        weights |= {
            f"{name}.{key}" if key.startswith("constant") else key: v for key, v in _take_weights(graph).items()
        }
        kept = inputs.keys() | {key for key in weights if not key.startswith("generate.constant")}
        made = {output for node in graph.node for output in node.output}
        _rename(graph, lambda value, name=name, kept=kept, made=made: (  # type: ignore[misc]
            value if not value or (value in kept and value not in made) else f"{name}.{value}"
        ))  # fmt: skip
        outputs += [(value.name, value.type.tensor_type) for value in graph.output]
    for key, tensor in weights.items():
        tensor.name = key
    branches = {}
    for name, graph in graphs.items():
        nothing = [
            helper.make_node(
                "Constant", [], [output], value=helper.make_tensor("", kind.elem_type, [0] * len(kind.shape.dim), [])
            )
            for output, kind in outputs
            if not output.startswith(f"{name}.")
        ]
        results = [helper.make_tensor_value_info(output, kind.elem_type, None) for output, kind in outputs]
        branches[name] = helper.make_graph([*graph.node, *nothing], name, [], results, list(graph.initializer))
    node = helper.make_node(
        "If",
        ["reads"],
        [output for output, _ in outputs],
        then_branch=branches["step"],
        else_branch=branches["generate"],
    )
    values = [
        helper.make_tensor_value_info(output, kind.elem_type, [f"{output}.{i}" for i in range(len(kind.shape.dim))])
        for output, kind in outputs
    ]
    reads = helper.make_tensor_value_info("reads", TensorProto.BOOL, [])
    graph = helper.make_graph([node], "textgen", [reads, *inputs.values()], values, list(weights.values()))
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )


def write_ways(folder: Path) -> dict[str, int]:
    """Writes the graphs of each way beside those of an export; returns the bytes of each way's files."""
    import onnx

    step, generate = (folder / f"{name}.onnx" for name in ("step", "generate"))
    (folder / "if.onnx").write_bytes(_choosing(folder))
    weights = onnx.ModelProto()
    shared: dict[str, Any] = {}
    for path in (step, generate):
        model = onnx.load(path)
        own = {} if path == step else {k: v for k, v in _take_weights(model.graph).items() if k not in shared}
        shared |= _take_weights(model.graph) if path == step else {}
        model.graph.initializer.extend(own.values())
        path.with_suffix(".part").write_bytes(model.SerializeToString())
    weights.graph.initializer.extend(shared.values())
    (folder / "weights.part").write_bytes(weights.SerializeToString())
    model, content = onnx.load(generate), step.read_bytes()
    for graph in _graphs(model.graph):
        for tensor in graph.initializer:
            at = content.find(tensor.raw_data)
            if len(tensor.raw_data) >= SMALL and at >= 0:
                for key, value in (("location", step.name), ("offset", at), ("length", len(tensor.raw_data))):
                    entry = tensor.external_data.add()
                    entry.key, entry.value = key, str(value)
                tensor.data_location = onnx.TensorProto.EXTERNAL
                tensor.ClearField("raw_data")
    (folder / "referring.onnx").write_bytes(model.SerializeToString())
    files = {
        "two": ("step.onnx", "generate.onnx"),
        "if": ("if.onnx",),
        "joined": ("weights.part", "step.part", "generate.part"),
        "referring": ("step.onnx", "referring.onnx"),
    }
    return {way: sum((folder / name).stat().st_size for name in names) for way, names in files.items()}


def _memory() -> float:
    """The megabytes of this process that no other shares."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:")) / 1000


def _nothing() -> bytes:
    """A graph that does nothing."""
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("in", "out")]
    graph = helper.make_graph([helper.make_node("Identity", ["in"], ["out"])], "nothing", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def measure(folder: str, way: str) -> dict[str, float]:
    """Opens the graphs of a way and writes with them; a figure by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3

    def open_graph(model: str | bytes) -> Any:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    path = Path(folder)
    about = json.loads((path / "textgen.json").read_text(encoding="utf-8"))
    open_graph(_nothing())  # what the library does once
    before, began = _memory(), time.process_time()
    if way == "joined":
        weights = (path / "weights.part").read_bytes()
        *kept, generate = (open_graph(weights + (path / f"{name}.part").read_bytes()) for name in ("step", "generate"))
        del weights
    elif way == "if":
        kept, generate = [], open_graph(str(path / "if.onnx"))
    else:
        names = ("step", "generate" if way == "two" else "referring")
        *kept, generate = (open_graph(str(path / f"{name}.onnx")) for name in names)
    found = {
        "opening, ms": (time.process_time() - began) * 1e3,
        "memory, MB": _memory() - before,
        "sessions": 1 + len(kept),
    }

    def write(rows: int, steps: int) -> list[Any]:
        state = np.random.default_rng(1)
        feeds = {
            f"past.{t['name']}": np.tile(state.random(t["shape"], t["dtype"]), (rows, 1)) for t in about["state_spec"]
        }
        feeds |= {name: np.full((rows, 1), v, np.float32) for name, v in about["export"]["parameters"].items()}
        uniforms = np.random.default_rng(0).random((steps, rows), np.float32)
        feeds |= {"last_ids": np.ones(rows, np.int64), "uniforms": uniforms}
        if way == "if":
            feeds |= {
                "reads": np.array(False),
                "ids": np.zeros((rows, 1), np.int64),
                "lengths": np.ones(rows, np.int64),
            }
        prefix = "generate." if way == "if" else ""
        names = [f"{prefix}ids", *(f"{prefix}present.{t['name']}" for t in about["state_spec"])]
        results: list[Any] = generate.run(names, feeds)
        return results

    for name, (rows, steps, times) in CALLS.items():
        write(rows, steps)
        best = np.inf
        for _ in range(times):
            began = time.process_time()
            write(rows, steps)
            best = min(best, time.process_time() - began)
        found[f"{name}, µs"] = best / steps * 1e6
    alone, beside = write(1, 2), write(2, 2)
    found["alone as beside"] = float(all((a == b[:1]).all() for a, b in zip(alone[1:], beside[1:], strict=True)))
    return found


def main() -> None:
    for subject in (LSTM_128, GRU_1024):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "runs"
            make_runs(subject, folder, ("fp32", "int8"), {})
            for precision in ("fp32", "int8"):
                sizes = write_ways(folder / precision)
                best: dict[str, dict[str, float]] = {}
                for _ in range(TURNS):
                    for way in WAYS:
                        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                            found = pool.submit(measure, str(folder / precision), way).result()
                        former = best.get(way, found)
                        best[way] = {name: min(value, former[name]) for name, value in found.items()}
                columns = list(best["two"])
                sys.stdout.write(f"\n{subject.title}, {precision}\n\n| way | MB | {' | '.join(columns)} |\n")
                for way in WAYS:
                    figures = " | ".join(f"{best[way][name]:.3g}" for name in columns)
                    sys.stdout.write(f"| {way} | {sizes[way] / 1e6:.2f} | {figures} |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
