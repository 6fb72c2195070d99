"""How well a run predicts text, in words."""

from __future__ import annotations

from collections.abc import Mapping

from textgen.runs.manifest import Manifest

#: What a run is that held out no text.
ALL_TEXT = "trained on all text, not judged"


def describe_losses(record: Mapping[str, float]) -> str:
    """The losses of a line of the history, in nats and bits per character; in nats per token if tokens are longer."""
    parts = []
    for part, label in (("", "loss"), ("held_out_", "held out")):
        nats, bits, per_token = (record.get(f"{part}{name}") for name in ("loss", "bits", "loss_per_token"))
        if nats is not None:
            parts.append(f"{label} {nats:.3f} nats ({bits:.3f} bits) per character")
        if per_token is not None:
            parts.append(f"{per_token:.3f} nats per token")
    if record.get("characters_per_second"):
        parts.append(f"{record['characters_per_second']:,.0f} characters/s")
    return ", ".join(parts)


def describe_quality(manifest: Manifest, *, speed: bool) -> str:
    """The losses of a run, and whether it was not judged; empty before its first checkpoint.

    Args:
        manifest: of the run.
        speed: whether the speed of its training is told, too.
    """
    told = {name: value for name, value in manifest.metrics.items() if speed or name != "characters_per_second"}
    losses = describe_losses(told)
    return f"{losses}, {ALL_TEXT}" if losses and manifest.settings["training"].get("held_out") == 0 else losses
