"""The exporter ``web``: a model with an engine in JavaScript, kept only if it computes what its source does."""

from __future__ import annotations

import hashlib
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
    write_atomically,
    write_folder,
    write_sums,
)
from textgen.errors import ArtifactError, UnsupportedModelError
from textgen.options import Options
from textgen_web.description import FORMAT, check_parts, describe
from textgen_web.emulation import Emulation
from textgen_web.javascript import engine, read
from textgen_web.pages import is_single_page, page_files, single_page
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

#: Those of the page.
PAGE = {"index.html", "page"}


class WebOptions(Options):
    """Options of :class:`WebExporter`."""

    precision: Precision = Field("fp32", description="Of the kernels: fp32, fp16 or int8, for a smaller download.")
    single: bool = Field(False, description="Write one HTML file, which opens without a server.")


class WebExporter(Exporter):
    """Writes a folder for any static host, which is an npm package, too: a page, the model, an engine in JavaScript.

    With ``single``, one HTML file has the page with everything inside; its name ends in ``.html``.
    """

    Options = WebOptions

    options: WebOptions

    def export(self, source: ExportSource, folder: Path) -> ExportReport:
        check_parts(source)
        network = source.make_model().describe(source.artifact.weights())
        if network is None:
            raise UnsupportedModelError(
                "this model is neither a GRU or LSTM stack nor an n-gram: the web engine has no other"
            )
        file = folder
        if self.options.single:
            if folder == source.artifact.path / "web":  # where exports go unless told otherwise
                file = folder.with_suffix(".html")
            _check_page(file)
        else:
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
        weights = safetensors.numpy.save(tensors)
        about = describe(source, network, runtime) | {
            "precision": precision,
            "sha256": hashlib.sha256(weights).hexdigest(),
            "card": describe_model(manifest),
            "licence": manifest.provenance.get("licence", "unknown"),
        }
        if self.options.single:
            write_atomically(file, single_page(about, weights, is_own_chain=source.is_own_chain))
            return ExportReport(file.parent, (file.name,), parity.figures())
        with write_folder(folder) as work:
            (work / WEIGHTS).write_bytes(weights)
            (work / "page").mkdir()
            for name, page in page_files(is_own_chain=source.is_own_chain).items():
                (work / name).write_bytes(page)
            content = {
                MODEL: json.dumps(about, allow_nan=False) + "\n",  # in ASCII, since a character may be half a pair
                ENGINE: engine(),
                TYPES: read(TYPES),
                PACKAGE: json.dumps(_package(about), indent=2) + "\n",
                CARD: _card(manifest),
            }
            for name, text in content.items():
                (work / name).write_bytes(text.encode())
            names = write_sums(work / SUMS)
        return ExportReport(folder, names, parity.figures())


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
    others = names - {MODEL, WEIGHTS, ENGINE, TYPES, PACKAGE, CARD, SUMS, *PAGE}
    if not is_ours or others or folder.samefile("."):
        what = f"has {min(others)}, which" if is_ours and others else "already exists and"
        raise ArtifactError(f"{folder} {what} is not of an export for the web; choose another --out")


def _check_page(file: Path) -> None:
    """Check that a file ends in ``.html``, and is a page of ours, or does not exist.

    Raises:
        ArtifactError: otherwise.
    """
    if file.suffix != ".html":
        raise ArtifactError(f"a page in one file needs a name that ends in .html, not {file}; choose another --out")
    if file.exists() and not (file.is_file() and is_single_page(file.read_bytes())):
        raise ArtifactError(f"{file} already exists and is not a page of textgen; choose another --out")
