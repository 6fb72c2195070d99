"""The exporter ``onnx``: graphs from a run's weights, kept only if they compute what their source does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import onnx
import safetensors.numpy
from pydantic import Field, model_validator

from textgen import (
    Artifact,
    ContextTree,
    Exporter,
    ExportReport,
    ExportSource,
    Parity,
    Runtime,
    exported_manifest,
    write_folder,
    write_sums,
)
from textgen.errors import UnsupportedModelError
from textgen.options import Options
from textgen_onnx.checks.foreign import ForeignGraph
from textgen_onnx.checks.golden import golden_vectors
from textgen_onnx.checks.refused import Refused
from textgen_onnx.contract import (
    BLOCK,
    CARD,
    FOLDER,
    GENERATE,
    GIT_ATTRIBUTES,
    GOLDEN,
    IR_VERSION,
    OPSET,
    STEP,
    SUMS,
    TOKENIZER,
    UNCONVERTED,
    Precision,
    check_exportable,
    default_parameters,
    describe_loop,
)
from textgen_onnx.graphs.generate import build_block, build_generate
from textgen_onnx.graphs.ngram import describe_ngram
from textgen_onnx.graphs.step import build_step
from textgen_onnx.graphs.weights import GraphWeights
from textgen_onnx.model_card import model_card
from textgen_onnx.replaceable import check_replaceable
from textgen_onnx.running.graphs import Graphs
from textgen_onnx.runtime import OnnxRuntime


class OnnxOptions(Options):
    """Options of :class:`OnnxExporter`."""

    precision: Precision = Field("fp32", description="Of the kernels: fp32, fp16 (for CUDA) or int8 (for CPUs).")
    via: Literal["weights", "tf2onnx"] = Field(
        "weights", description="Source of the graphs: the weights, or the model's Keras step function through tf2onnx."
    )
    block: int = Field(
        0, ge=0, le=256, description="Steps of block.onnx, a loop for batch 1 without control flow; 0 writes none."
    )

    @model_validator(mode="after")
    def _tf2onnx_converts_one_graph(self) -> Self:
        if self.via == "tf2onnx" and (self.precision != "fp32" or self.block):
            raise ValueError("via=tf2onnx writes step.onnx in fp32 only; leave precision and block out")
        return self


class OnnxExporter(Exporter):
    """Writes ``step.onnx``, ``generate.onnx``, tokenizer, golden vectors, a model card and check sums.

    It needs TensorFlow only if the graphs come through tf2onnx.
    """

    Options = OnnxOptions

    options: OnnxOptions

    def export(self, source: ExportSource, folder: Path) -> ExportReport:
        check_replaceable(folder, source.artifact.path / FOLDER, STEP, {GENERATE, BLOCK})
        with write_folder(folder) as work:
            reference, graphs, about = self._graphs(source)
            export = Artifact(work, exported_manifest(source.artifact.manifest, about))
            known = Graphs(export)
            for name, graph in graphs.items():
                content = graph.SerializeToString()
                export.put(name, content)
                known.remember(name, content)
            export.put(TOKENIZER, source.artifact.verified(TOKENIZER).read_bytes())
            export.put(GIT_ATTRIBUTES, UNCONVERTED)
            runtime = OnnxRuntime(export, "cpu")
            parity = Parity.measure(reference, runtime, source)
            parity.check(self.options.precision)
            vectors = golden_vectors(runtime, source.chain, source.forbidden_ids)
            export.put(GOLDEN, safetensors.numpy.save({k: np.ascontiguousarray(v) for k, v in vectors.items()}))
            export.manifest.export = about | {"parity": {**parity.figures(), "text": parity.text}}
            export.put(CARD, model_card(export.manifest))
            export.commit()
            names = write_sums(work / SUMS)
        return ExportReport(folder, names, parity.figures())

    def _graphs(self, source: ExportSource) -> tuple[Runtime, Mapping[str, onnx.ModelProto], dict[str, Any]]:
        """The runtime to compare with, the graphs by file, and the entry ``export`` of ``textgen.json``."""
        about: dict[str, Any] = {
            "format": FOLDER,
            "via": self.options.via,
            "precision": self.options.precision,
            "opset": OPSET,
            "ir_version": IR_VERSION,
            "generate": None,
            "weights_sha256": source.artifact.weights_sha256,
            "host": source.host,
        }
        model = source.make_model()
        check_exportable(source.artifact, model)
        network = model.describe(source.artifact.weights())
        if self.options.via == "tf2onnx":
            if isinstance(network, ContextTree) or (network is not None and network.ngram is not None):
                raise UnsupportedModelError(
                    "tf2onnx cannot convert a model with an n-gram; leave --via out, and its graphs are built from its "
                    "weights"
                )
            from textgen_onnx.graphs.from_keras import convert_step

            model.load_weights(source.artifact.weights())
            step = convert_step(model)
            try:
                ForeignGraph(step.SerializeToString(), model.state_spec, model.vocab_size)
            except Refused as reason:
                source.notice(f"on other machines {STEP} will need --trust-graph: {reason}")
            return source.open_runtime(model.native_runtime), {STEP: step}, about
        if network is None:
            raise UnsupportedModelError(
                "this model is neither a GRU or LSTM stack nor an n-gram; if it is a Keras model, export it with "
                "--via tf2onnx"
            )
        weights = GraphWeights.from_network(network, self.options.precision)
        end_id = source.artifact.manifest.end_id
        chain, forbidden = source.chain, source.forbidden_ids
        graphs = {STEP: build_step(weights)}
        try:
            graphs[GENERATE] = build_generate(weights, chain, forbidden, end_id)
            about |= {"generate": describe_loop(chain, forbidden), "parameters": default_parameters(chain)}
        except UnsupportedModelError as error:
            unwritten = f"{GENERATE} and no {BLOCK} are" if self.options.block else f"{GENERATE} is"
            source.notice(f"{error}: no {unwritten} written, and the loop runs outside of the graph")
        if self.options.block and GENERATE in graphs:
            graphs[BLOCK] = build_block(weights, chain, forbidden, end_id, steps=self.options.block, batch=1)
        return (
            source.open_runtime("auto"),
            graphs,
            about
            | {
                "cell": weights.cell,
                "units": list(weights.units),
                "ngram": weights.ngram and describe_ngram(weights.ngram).model_dump(),
            },
        )
