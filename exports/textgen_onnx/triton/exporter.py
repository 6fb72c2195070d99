"""The exporter ``triton``: a model repository for NVIDIA's Triton Inference Server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import Field

from textgen import (
    Artifact,
    Exporter,
    ExportReport,
    ExportSource,
    StateSpec,
    exported_manifest,
    write_folder,
    write_sums,
)
from textgen.errors import ArtifactError, UnsupportedModelError
from textgen.options import Options
from textgen_onnx.contract import CARD, GENERATE, GIT_ATTRIBUTES, GOLDEN, STEP, SUMS, TOKENIZER, UNCONVERTED, Precision
from textgen_onnx.exporter import OnnxExporter, OnnxOptions
from textgen_onnx.graphs.generate import build_write
from textgen_onnx.graphs.weights import GraphWeights
from textgen_onnx.replaceable import check_replaceable
from textgen_onnx.running.session import open_session
from textgen_onnx.triton.config import INITIAL_STATE, explicit_config, sequence_config
from textgen_onnx.triton.readme import readme

#: The folder of a repository in the run's folder.
FOLDER = "triton"

#: The models of a repository; the name of the repository and ``_`` come before them.
KINDS = ("step", "write", "sequence")

#: Below the folder of a model, the file of its configuration and that of its first version.
CONFIG, GRAPH = "config.pbtxt", "1/model.onnx"


class TritonOptions(Options):
    """Options of :class:`TritonExporter`."""

    name: str = Field(
        "textgen",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        max_length=100,
        description="Beginning of the models' names: letters, digits, _ and -.",
    )
    precision: Precision = Field("fp32", description="Of the kernels: fp32, fp16 (for CUDA) or int8 (for CPUs).")
    max_batch_size: int = Field(64, ge=1, le=4096, description="The most rows that Triton runs at once.")


class TritonExporter(Exporter):
    """Writes a model repository: two models whose state is passed, one whose state Triton keeps.

    It needs neither Triton nor TensorFlow.
    """

    Options = TritonOptions

    options: TritonOptions

    def export(self, source: ExportSource, folder: Path) -> ExportReport:
        precision, names = self.options.precision, {kind: f"{self.options.name}_{kind}" for kind in KINDS}
        paths = {f"{name}/{path}" for name in names.values() for path in (CONFIG, GRAPH)}
        check_replaceable(folder, source.artifact.path / FOLDER, f"{names['step']}/{GRAPH}", paths)
        network = source.make_model().describe(source.artifact.weights())
        if network is None:
            raise UnsupportedModelError(
                "this model is neither a GRU or LSTM stack nor an n-gram: no other can be exported for Triton"
            )
        try:
            write = build_write(GraphWeights.from_network(network, precision), source.chain, source.forbidden_ids)
        except UnsupportedModelError as error:
            raise UnsupportedModelError(f"{error}, and Triton runs nothing else; choose another --sampler") from None
        with TemporaryDirectory() as temporary:
            onnx_exporter = OnnxExporter(OnnxOptions(precision=precision))
            report = onnx_exporter.export(source, Path(temporary, "onnx"))
            with write_folder(folder) as work:
                files = self._write(work, Artifact.open(report.folder), write, names)
        return ExportReport(folder, files, report.parity)

    def _write(
        self, work: Path, exported: Artifact, write: onnx.ModelProto, names: Mapping[str, str]
    ) -> tuple[str, ...]:
        """Writes the files of a repository; returns their paths."""
        about = {name: value for name, value in (exported.manifest.export or {}).items() if name != "format"}
        repository = Artifact(work, exported_manifest(exported.manifest, about | {"models": names}))
        step = exported.verified(STEP).read_bytes()
        content = write.SerializeToString()
        most = self.options.max_batch_size
        sequence, initial = sequence_config(names["sequence"], write.graph, most, _initial_state(exported, write.graph))
        files: dict[str, bytes | str] = {
            f"{names['step']}/{CONFIG}": explicit_config(names["step"], onnx.load_from_string(step).graph, most),
            f"{names['step']}/{GRAPH}": step,
            f"{names['write']}/{CONFIG}": explicit_config(names["write"], write.graph, most),
            f"{names['write']}/{GRAPH}": content,
            f"{names['sequence']}/{CONFIG}": sequence,
            f"{names['sequence']}/{GRAPH}": content,
            **{f"{names['sequence']}/{INITIAL_STATE}/{name}": state for name, state in initial.items()},
            TOKENIZER: exported.verified(TOKENIZER).read_bytes(),
            GIT_ATTRIBUTES: UNCONVERTED,
            GOLDEN: safetensors.numpy.save(_golden(exported, content)),
            CARD: readme(repository.manifest),
        }
        for name, file in files.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            repository.put(name, file)
        repository.commit()
        return write_sums(work / SUMS)


def _initial_state(exported: Artifact, graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """The state before the first id, without the batch, by the graph's inputs; where nothing was seen yet."""
    spec: StateSpec = exported.state_spec
    state = {f"past.{name}": array[0] for name, array in spec.initial_state(1).items()}
    if any(value.name == "seen" for value in graph.input):
        state["seen"] = np.zeros(exported.manifest.vocab_size, np.bool_)
    return state


def _golden(exported: Artifact, write: bytes) -> dict[str, NDArray[Any]]:
    """Requests and answers of the models whose state is passed, ``step.*`` and ``write.*``.

    Those of the first are the export's. Those of the second write what the export's own loop does.

    Raises:
        ArtifactError: if it writes something else.
    """
    vectors = safetensors.numpy.load(exported.verified(GOLDEN).read_bytes())
    step = {name: array for name, array in vectors.items() if name.startswith("step.")}
    loop = {name.removeprefix("generate."): array for name, array in vectors.items() if name.startswith("generate.")}
    loop = {name: array for name, array in loop.items() if name != "ids" and not name.startswith("present.")}
    if "seen" in loop:  # a slot's id is seen, too
        loop["seen"] = np.arange(exported.manifest.vocab_size) == loop["last_ids"][:, None]
    expected = _run(exported.verified(GENERATE).read_bytes(), loop)["ids"].T
    given = np.concatenate([loop.pop("last_ids")[:, None], np.full_like(expected, -1)], axis=1)
    feeds = _as_columns(loop) | {"given": given, "uniforms": np.pad(loop["uniforms"].T, ((0, 0), (1, 0)))}
    answers = _run(write, feeds)
    if not np.array_equal(answers["ids"][:, 1:], expected):
        raise ArtifactError("the graph for Triton writes other ids than the export's own loop; nothing was written")
    vectors = _as_columns(step) | {f"write.{name}": array for name, array in (feeds | answers).items()}
    return {name: np.ascontiguousarray(array) for name, array in vectors.items()}


def _run(graph: bytes, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The outputs of a graph."""
    session = open_session(graph, "a graph for Triton", "cpu")
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def _as_columns(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Tensors as requests to Triton have them: one number per row is a column."""
    return {name: array[:, None] if array.ndim == 1 else array for name, array in tensors.items()}
