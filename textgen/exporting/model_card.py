"""What an export says of its model: the beginning of its model card."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from textgen.runs.manifest import Manifest


def describe_model(manifest: Manifest) -> str:
    """Markdown for people who find the folder: the model, the terms of its corpus, its quality, and its settings.

    Args:
        manifest: of the export.
    """
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
