"""The event files of --tensorboard, read back by TensorFlow."""

import json
from typing import Any

import numpy as np
import pytest

from textgen.plugins.registry import plugins
from textgen.training.display import Display
from textgen.training.plan import make_plan
from textgen.training.tensorboard import EVENTS_EVERY, EventLog, TensorBoardDisplay
from textgen.training.train import train

pytestmark = pytest.mark.keras


def read(folder) -> dict[str, dict[int, float]]:
    """The points of every curve; TensorFlow verifies the checksums."""
    import tensorflow as tf

    curves: dict[str, dict[int, float]] = {}
    (file,) = folder.iterdir()
    for event in tf.compat.v1.train.summary_iterator(str(file)):
        for value in event.summary.value:
            curves.setdefault(value.tag, {})[event.step] = value.simple_value
    return curves


def test_any_scalar_comes_back(tmp_path):
    rng = np.random.default_rng(0)
    points = {int(step): float(value) for step, value in zip(2 ** np.arange(40), rng.normal(size=40), strict=True)}
    log = EventLog(tmp_path / "log")
    for step, value in points.items():
        log.write(step, {"batch/loss": value, "é" * 200: -value})
    log.close()
    expected = {step: pytest.approx(value, rel=1e-6) for step, value in points.items()}
    assert read(tmp_path / "log")["batch/loss"] == expected
    assert len(read(tmp_path / "log")["é" * 200]) == 40


def test_a_run_has_curves_of_batches_and_epochs(tmp_path):
    settings: dict[str, dict[str, Any]] = {
        "corpus": {"name": "dinos-lite"},
        "model": {"name": "gru", "units": 8},
        "training": {"epochs": 2, "batch_size": 32, "sample_every": 0},
    }
    train(make_plan(settings, plugins()), plugins(), TensorBoardDisplay(Display()), folder=tmp_path / "run")
    curves = read(tmp_path / "run" / "tensorboard")
    history = [json.loads(line) for line in (tmp_path / "run" / "history.jsonl").read_text().splitlines()]
    for name in ("loss", "held_out_loss", "learning_rate", "characters_per_second"):
        assert curves[f"epoch/{name}"] == {line["step"]: pytest.approx(line[name], rel=1e-6) for line in history}
    batches = set(range(EVENTS_EVERY, history[-1]["step"] + 1, EVENTS_EVERY))
    for name in ("loss", "learning_rate", "characters_per_second"):
        assert curves[f"batch/{name}"].keys() == batches
