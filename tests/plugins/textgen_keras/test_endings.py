"""The end of a run, by its options, and resuming after it."""

import json
from typing import Any

import pytest

from textgen import api
from textgen.errors import OptionError
from textgen.evaluation.scoring import mean_loss
from textgen.plugins.registry import plugins
from textgen.training.display import Display
from textgen.training.plan import make_plan
from textgen.training.train import resume

pytestmark = pytest.mark.keras

TRAINING = {"batch_size": 4, "length": 10, "held_out": 0.2, "sample_every": 0, "device": "cpu"}


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "verse.txt"
    path.write_text("the cat sat on the mat\nand that was that\n" * 40, encoding="utf-8")
    return path


def records(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def test_a_run_that_ends_within_an_epoch_by_max_steps_judges_its_last_weights(text, tmp_path):
    settings: dict[str, dict[str, Any]] = {
        "model": {"units": 8, "ngram": 0},
        "training": {**TRAINING, "epochs": 9, "max_steps": 41},
    }
    generator = api.train(text, settings=settings, out=tmp_path / "run")
    manifest = generator.artifact.manifest
    assert [record["step"] for record in records(tmp_path / "run")] == [33, 41]
    assert manifest.metrics["step"] == 41
    plan = make_plan(manifest.settings, plugins())
    held_out = plan.dataset.held_out
    assert held_out is not None
    expected = mean_loss(
        generator.runtime,
        list(held_out.batches(0)),
        generator.tokenizer.characters_per_id,
        carries_state=plan.dataset.carries_state,
    )
    assert manifest.metrics["held_out_loss"] == pytest.approx(expected, rel=1e-4)


def test_a_run_that_ended_by_patience_can_be_resumed_with_more(text, tmp_path):
    still = {"optimizer": "sgd", "learning_rate": 1e-30, "average": 0.0, "patience": 1}
    settings: dict[str, dict[str, Any]] = {"model": {"units": 4}, "training": {**TRAINING, **still, "epochs": 9}}
    api.train(text, settings=settings, out=tmp_path / "run")
    assert [record["epoch"] for record in records(tmp_path / "run")] == [1, 2]
    with pytest.raises(OptionError, match=r"finished, with --set training.patience=1; "):
        resume(tmp_path / "run", plugins(), Display(), changes={"training": {"epochs": 20}})
    resume(tmp_path / "run", plugins(), Display(), changes={"training": {"epochs": 3, "patience": None}})
    assert [record["epoch"] for record in records(tmp_path / "run")] == [1, 2, 3]
