"""The model card: one page that travels with an export."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from textgen import Manifest


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
or with `onnxruntime` and `numpy` alone: see docs/onnx.md of textgen. `golden.safetensors` holds inputs and outputs of
the graphs, by which a host can check itself; `SHA256SUMS` holds the check sums.
"""


def describe_model(manifest: Manifest) -> str:
    """The beginning of a model card: the model, the terms of its corpus, its quality, and its settings."""
    about: dict[str, Any] = manifest.export or {}
    settings, provenance, parity = manifest.settings, manifest.provenance, about["parity"]
    corpus, version = settings["corpus"]["name"], manifest.versions.get("textgen-rnn", "")
    sources = [source["addresses"][0] for source in provenance.get("sources", []) if source["addresses"]]
    metrics = "".join(
        f"| {label} | {manifest.metrics[name]:.4f} |\n"
        for name, label in (
            ("loss", "training loss, nats per character"),
            ("held_out_loss", "held-out loss, nats per character"),
            ("held_out_loss_per_token", "held-out loss, nats per token"),
        )
        if name in manifest.metrics
    )
    options = "\n".join(
        f"- {table}: " + ", ".join(f"{key} = {value}" for key, value in values.items())
        for table, values in settings.items()
        if table != "corpus"
    )
    lineage = "".join(
        f"\nThe weights began as those of {PurePath(base['run']).name}, trained on {base['corpus']} "
        f"(SHA-256 {base['weights_sha256']}).\n"
        for base in manifest.lineage
    )
    unjudged = ""
    if (refit := manifest.refit) is not None:
        unjudged = (
            f"Trained on all text, not judged; {PurePath(refit['run']).name}, a run with the same options that held "
            f"text out, had {refit['held_out_loss']:.4f} nats per character on it.\n\n"
        )
    elif settings["training"].get("held_out") == 0:
        unjudged = "Trained on all text, not judged.\n\n"
    return f"""# {settings["model"]["name"]} on {corpus}

A small text generator in {about["precision"]}, exported by textgen {version}.

## Corpus

{corpus}, licence: {provenance.get("licence", "unknown")}{", from " + ", ".join(sources) if sources else ""}.
{lineage}
## Quality

{unjudged}| figure | value |
| --- | --- |
{metrics}| loss of this export on {parity["text"]}, nats per character | {parity["export_loss"]:.4f} |
| loss of its source on the same text | {parity["loss"]:.4f} |
| largest difference of logits in 1,000 steps | {parity["max_logit_difference"]:.1e} |
| same likeliest token | {parity["greedy_agreement"]:.2%} of steps |

## Settings

{options}
"""
