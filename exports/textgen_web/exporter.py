"""The exporter ``web``: a model with an engine in JavaScript, kept only if it computes what its source does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import safetensors.numpy
from pydantic import Field

from textgen import (
    Exporter,
    ExportReport,
    ExportSource,
    Manifest,
    Parity,
    describe_model,
    exported_manifest,
    sha256,
    write_folder,
)
from textgen.errors import ArtifactError, UnsupportedModelError
from textgen.options import Options
from textgen_web.description import FORMAT, check_parts, describe
from textgen_web.emulation import Emulation
from textgen_web.javascript import engine, read
from textgen_web.weights import Precision, web_weights

#: The files of an export.
MODEL, WEIGHTS, ENGINE, TYPES, PACKAGE, CARD, SUMS = (
    "model.json",
    "model.safetensors",
    "textgen.js",
    "textgen.d.ts",
    "package.json",
    "README.md",
    "SHA256SUMS",
)


class WebOptions(Options):
    """Options of :class:`WebExporter`."""

    precision: Precision = Field("fp32", description="Of the kernels: fp32, fp16 or int8, for a smaller download.")


class WebExporter(Exporter):
    """Writes a folder for any static host, which is an npm package, too: the model, and an engine in JavaScript."""

    Options = WebOptions

    options: WebOptions

    def export(self, source: ExportSource, folder: Path) -> ExportReport:
        check_parts(source)
        network = source.make_model().describe(source.artifact.weights())
        if network is None:
            raise UnsupportedModelError(
                "this model is neither a GRU or LSTM stack nor an n-gram: the web engine has no other"
            )
        _check_replaceable(folder)
        precision = self.options.precision
        tensors = web_weights(network, precision)
        runtime = Emulation(network, tensors, source.artifact.state_spec)
        parity = Parity.measure(source.open_runtime("auto"), runtime, source)
        parity.check(precision)
        summary = {**parity.figures(), "text": parity.text}
        manifest = exported_manifest(
            source.artifact.manifest, {"format": FORMAT, "precision": precision, "parity": summary}
        )
        about = describe(source, network, runtime) | {
            "precision": precision,
            "card": describe_model(manifest),
            "licence": manifest.provenance.get("licence", "unknown"),
        }
        with write_folder(folder) as work:
            (work / WEIGHTS).write_bytes(safetensors.numpy.save(tensors))
            content = {
                MODEL: json.dumps(about, ensure_ascii=False, allow_nan=False) + "\n",
                ENGINE: engine(),
                TYPES: read(TYPES),
                PACKAGE: json.dumps(_package(about), indent=2) + "\n",
                CARD: _card(manifest),
            }
            for name, text in content.items():
                (work / name).write_bytes(text.encode("utf-8", "surrogatepass"))
            names = sorted(path.name for path in work.iterdir())
            (work / SUMS).write_bytes("".join(f"{sha256(work / name)}  {name}\n" for name in names).encode())
        return ExportReport(folder, (*names, SUMS), parity.figures())


def _package(about: dict[str, Any]) -> dict[str, Any]:
    """The folder as an npm package."""
    return {
        "name": "textgen-" + re.sub(r"[^a-z0-9]+", "-", about["name"].lower()).strip("-"),
        "version": "1.0.0",
        "description": f"A small text generator: {about['name']}.",
        "type": "module",
        "exports": {".": {"types": f"./{TYPES}", "default": f"./{ENGINE}"}, "./*": "./*"},
        "types": f"./{TYPES}",
        "engines": {"node": ">=18"},
    }


def _card(manifest: Manifest) -> str:
    return f"""{describe_model(manifest)}
## Run it

In a browser, in Node 18 or later and in Deno, without other packages:

```
import {{load}} from './textgen.js';
const generator = await load(new URL('./', import.meta.url));
for await (const piece of generator.generate({{prompt: '', length: 400, seed: 7}})) console.log(piece);
```

`textgen.d.ts` describes the module. `generator.check()` compares it with what textgen computed; `SHA256SUMS` holds the
check sums.
"""


def _check_replaceable(folder: Path) -> None:
    """Check that a folder has nothing but an export for the web, or is empty, or does not exist.

    Raises:
        ArtifactError: otherwise.
    """
    if not folder.exists():
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    try:
        is_ours = not names or json.loads((folder / MODEL).read_bytes())["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        is_ours = False
    others = names - {MODEL, WEIGHTS, ENGINE, TYPES, PACKAGE, CARD, SUMS}
    if not is_ours or others or folder.samefile("."):
        what = f"has {min(others)}, which" if is_ours and others else "already exists and"
        raise ArtifactError(f"{folder} {what} is not of an export for the web; choose another --out")
