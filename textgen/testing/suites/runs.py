"""A run of a tiny corpus, for what needs one: exporters, runtimes, and models that are saved and loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textgen import Artifact, Layout, Model
from textgen.options import Settings
from textgen.plugins.registry import plugins
from textgen.training.display import Display
from textgen.training.plan import Plan, make_plan
from textgen.training.train import train

#: Trained in an instant.
QUICK = {"epochs": 2, "batch_size": 4, "length": 20, "held_out": 0.2, "sample_every": 0}


@dataclass(frozen=True)
class TinyRun:
    """A finished run and what it was made of."""

    plan: Plan
    artifact: Artifact

    def make_model(self) -> Model:
        """The run's model, without its weights."""
        model: Model = plugins().make("model", self.plan.settings["model"], self.plan.tokenizer.vocab_size)
        return model

    def load_model(self) -> Model:
        """The run's model, with its weights."""
        model = self.make_model()
        model.load_weights(self.artifact.weights())
        return model


def train_tiny(
    folder: Path, model: Mapping[str, Any], layout: Layout = "documents", training: Mapping[str, Any] | None = None
) -> TinyRun:
    """Train a model on a tiny corpus.

    Args:
        folder: of the run; must not exist.
        model: the model's table of settings: ``name`` and options.
        layout: which of the tiny corpora.
        training: training options over :data:`QUICK`.
    """
    settings: Settings = {
        "corpus": {"name": f"tiny-{layout}"},
        "model": dict(model),
        "training": QUICK | dict(training or {}),
        "generation": {"length": 40},
    }
    plan = make_plan(settings, plugins())
    return TinyRun(plan, train(plan, plugins(), Display(), folder=folder))
