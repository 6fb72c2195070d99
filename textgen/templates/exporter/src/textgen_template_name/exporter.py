"""The exporter ``template-name``: one JSON file, which any programming language can read."""

import json
from pathlib import Path

import numpy as np
from pydantic import Field

from textgen import Exporter, ExportReport, ExportSource, ModelRuntime, Tensors, write_folder
from textgen.errors import ArtifactError
from textgen.options import Options

FILE = "model.json"

#: The largest allowed difference between logits of the file and of the run.
BOUND = 1e-4


class TemplateNameOptions(Options):
    """Options of :class:`TemplateNameExporter`."""

    indent: int = Field(0, ge=0, le=8, description="Spaces per level of indentation; 0 writes a single line.")


class TemplateNameExporter(Exporter):
    """Writes the vocabulary, and for each weight its shape, its dtype and its values in C order."""

    Options = TemplateNameOptions
    options: TemplateNameOptions

    def export(self, source: ExportSource, folder: Path) -> ExportReport:
        if folder.exists() and not {path.name for path in folder.iterdir()} <= {FILE}:
            raise ArtifactError(f"{folder} already exists and is not an export; choose another --out")
        with write_folder(folder) as work:
            weights = {
                name: {"shape": array.shape, "dtype": str(array.dtype), "values": array.ravel().tolist()}
                for name, array in source.artifact.weights().items()
            }
            settings = source.artifact.manifest.settings
            content = {
                "model": settings["model"],
                "tokenizer": settings["tokenizer"],
                "vocabulary": source.artifact.tokenizer_json(),
                "weights": weights,
            }
            text = json.dumps(content, ensure_ascii=False, indent=self.options.indent or None)
            (work / FILE).write_text(text, encoding="utf-8")
            difference = compare(source, read_weights(work / FILE))
            if not difference <= BOUND:
                raise ArtifactError(f"the logits of {FILE} differ by up to {difference:.2g} from those of the run")
        return ExportReport(folder, (FILE,), {"max_logit_difference": difference})


def read_weights(path: Path) -> Tensors:
    """The weights in an export."""
    weights = json.loads(path.read_text(encoding="utf-8"))["weights"]
    return {name: np.array(each["values"], each["dtype"]).reshape(each["shape"]) for name, each in weights.items()}


def compare(source: ExportSource, weights: Tensors) -> float:
    """The largest difference between logits of the run and of its model with other weights."""
    model = source.make_model()
    model.load_weights(weights)
    ids = np.random.default_rng(0).integers(0, model.vocab_size, (4, 100)).astype(np.int32)
    runtimes = (source.open_runtime(model.native_runtime), ModelRuntime(model))
    expected, found = (runtime.forward(ids, runtime.initial_state(len(ids)))[0] for runtime in runtimes)
    return float(np.abs(found - expected).max())
