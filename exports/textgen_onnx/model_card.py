"""The model card: one page that travels with an export."""

from __future__ import annotations

from typing import Any

from textgen import Manifest, describe_model


def model_card(manifest: Manifest) -> str:
    """Markdown for people who find the folder: the model, its quality, the terms of its corpus, and how to run it."""
    about: dict[str, Any] = manifest.export or {}
    states = "".join(
        f"| `past.{t['name']}`, `present.{t['name']}` | {t['dtype']} | "
        f"{' × '.join(map(str, ('batch', *t['shape'])))} |\n"
        for t in manifest.state_spec
    )
    if about.get("ngram"):
        contexts = about["ngram"]["contexts"]
        states += f"\n`past.context` is the state of an n-gram of {contexts:,} contexts: 1 before the first id.\n"
    labels = ""
    if manifest.labels:
        labels = f"\nTexts are written by label: `--label NAME` with one of {', '.join(manifest.labels)}.\n"
    return f"""{describe_model(manifest)}
## Signature

ONNX opset {about["opset"]}, IR version {about["ir_version"]}. `step.onnx` reads text, `generate.onnx` (if present)
writes it; only `batch`, `sequence` and `steps` are dynamic.

| tensor | type | shape |
| --- | --- | --- |
| `ids` (in) | int64 | batch × sequence |
| `lengths` (in): number of ids that count | int64 | batch |
| `logits` (out) | float32 | batch × sequence × {manifest.vocab_size} |
{states}
## Run it

```
textgen sample FOLDER --runtime onnx
```
{labels}
or without textgen, in Python, Node, a browser or C: see docs/hosts.md of textgen. `golden.safetensors` holds inputs and
outputs of the graphs, by which a host can check itself; `SHA256SUMS` holds the check sums.
"""
