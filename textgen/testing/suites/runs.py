"""Runs of a tiny corpus, to test exporters, runtimes, and saved models."""

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

#: Training options for an instant run.
QUICK = {"epochs": 2, "batch_size": 4, "length": 20, "held_out": 0.2, "sample_every": 0}


@dataclass(frozen=True)
class TinyRun:
    """A finished run and its plan."""

    plan: Plan
    artifact: Artifact

    def make_model(self) -> Model:
        """The model of the run, without weights."""
        return plugins().make("model", self.plan.settings["model"], self.plan.tokenizer.vocab_size)

    def load_model(self) -> Model:
        """The model of the run, with its weights."""
        model = self.make_model()
        model.load_weights(self.artifact.weights())
        return model


def train_tiny(
    folder: Path, model: Mapping[str, Any], layout: Layout = "documents", training: Mapping[str, Any] | None = None
) -> TinyRun:
    """Trains a model on a tiny corpus.

    Args:
        folder: the folder of the run; it must not exist.
        model: the settings of the model: ``name`` and options.
        layout: the layout of the tiny corpus.
        training: training options that override :data:`QUICK`.
    """
    settings: Settings = {
        "corpus": {"name": f"tiny-{layout}"},
        "model": dict(model),
        "training": QUICK | dict(training or {}),
        "generation": {"length": 40},
    }
    plan = make_plan(settings, plugins())
    return TinyRun(plan, train(plan, plugins(), Display(), folder=folder))
