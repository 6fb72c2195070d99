"""The exporter ``triton``: a model repository for NVIDIA's Triton Inference Server."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import Field

from textgen import Artifact, Exporter, ExportReport, ExportSource, StateSpec, exported_manifest, write_folder
from textgen.errors import ArtifactError, UnsupportedModelError
from textgen.options import Options
from textgen_onnx.contract import CARD, GENERATE, GIT_ATTRIBUTES, GOLDEN, STEP, TOKENIZER, UNCONVERTED, Precision
from textgen_onnx.exporter import OnnxExporter, OnnxOptions, write_sums
from textgen_onnx.graphs.generate import build_write
from textgen_onnx.replaceable import check_replaceable
from textgen_onnx.running.graphs import Graphs
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
        own = self.options.name
        paths = {f"{own}_{kind}/{path}" for kind in KINDS for path in (CONFIG, GRAPH)}
        check_replaceable(folder, source.artifact.path / FOLDER, f"{own}_step/{GRAPH}", paths)
        with TemporaryDirectory() as temporary:
            exporter = OnnxExporter(OnnxOptions(precision=self.options.precision))
            # Its only notice would be that it wrote no generating graph, which is an error here.
            report = exporter.export(dataclasses.replace(source, notice=lambda line: None), Path(temporary, "onnx"))
            exported = Artifact.open(report.folder)
            try:
                write = build_write(Graphs(exported).weights(), source.chain, source.forbidden_ids)
            except UnsupportedModelError as error:
                raise UnsupportedModelError(
                    f"{error}: Triton runs nothing else; choose samplers that can be with --sampler"
                ) from None
            with write_folder(folder) as work:
                files = self._put(Artifact(work, exported_manifest(exported.manifest, {})), exported, write)
        return ExportReport(folder, files, report.parity)

    def _put(self, repository: Artifact, exported: Artifact, write: onnx.ModelProto) -> tuple[str, ...]:
        """Writes the files of a repository; returns their paths."""
        step = exported.verified(STEP).read_bytes()
        content = write.SerializeToString()
        names = {kind: f"{self.options.name}_{kind}" for kind in KINDS}
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
        }
        repository.manifest.export = {**(exported.manifest.export or {}), "models": names}
        del repository.manifest.export["format"]  # no runtime loads it
        for name, file in (files | {CARD: readme(repository.manifest)}).items():
            (repository.path / name).parent.mkdir(parents=True, exist_ok=True)
            repository.put(name, file)
        repository.commit()
        return write_sums(repository.path)


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
