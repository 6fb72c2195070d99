"""The loss of the first epoch of `agnews-lstm` on the test split, measured as its source does and per character.

Run it with: python -m benchmarks.agnews_first_epoch
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.keras_titles import first_epoch_loss
from textgen.model.fitting import Position
from textgen.options import merge_settings
from textgen.plugins.registry import plugins
from textgen.text.batches import Batch
from textgen.training.display import LineDisplay
from textgen.training.plan import make_plan
from textgen.training.train import train


class _BatchLosses(LineDisplay):
    """Records the mean loss of each batch."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def batch(self, position: Position, loss: float, characters_per_second: float, learning_rate: float | None) -> None:
        super().batch(position, loss, characters_per_second, learning_rate)
        self.losses.append(loss)


def main() -> None:
    """Trains both programs on the same batches and prints their losses."""
    registry = plugins()
    one_epoch: dict[str, dict[str, Any]] = {"corpus": {"split": "test"}, "training": {"epochs": 1, "sample_every": 0}}
    plan = make_plan(merge_settings(registry.get("recipe", "agnews-lstm"), one_epoch), registry)
    batches: list[Batch] = list(plan.dataset.train.batches(0))
    filled = np.array([batch.weights.mean() for batch in batches])
    characters = np.array([batch.weights.sum() for batch in batches])
    display = _BatchLosses()
    with tempfile.TemporaryDirectory() as folder:
        train(plan, registry, display, folder=Path(folder) / "run")
    losses = np.array(display.losses)
    source = first_epoch_loss(batches, plan.tokenizer.vocab_size)
    print(f"mean over batches, padding counted as 0: textgen {np.mean(losses * filled):.3f}, original {source:.3f}")
    print(f"per character of text: textgen {np.average(losses, weights=characters):.3f}")


if __name__ == "__main__":
    main()
