"""docs/training.md names options that exist, all that decide how well a run learns, and values that they take."""

import re
from pathlib import Path

import pytest

from textgen.plugins.registry import plugins
from textgen.training.tensorboard import EVENTS_EVERY
from textgen_keras import GradientOptions

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


def named(table: str) -> set[str]:
    return set(re.findall(rf"\b{table}\.(?!md\b|png\b)([a-z_]+)", PAGE))


@pytest.mark.parametrize("model", ["gru", "lstm"])
def test_every_option_of_a_model_exists_and_is_named(model):
    options = plugins().get("model", model).Options.model_fields
    assert named("model") == set(options)


def test_every_option_of_training_exists_and_is_named():
    assert named("training") == set(GradientOptions.model_fields)


@pytest.mark.parametrize("option", ["layout", "schedule"])
def test_every_choice_is_named(option):
    for choice in GradientOptions.model_fields[option].annotation.__args__:
        assert f"`{choice}`" in PAGE


def test_what_may_change_on_resuming_is_what_is_said():
    (sentence,) = re.findall(r"On resuming, only (.*?) may change", PAGE)
    assert re.findall(r"`training\.(\w+)`", sentence) == list(GradientOptions.resumable)


def test_tensorboard_has_a_point_as_often_as_is_said():
    assert f"every {EVENTS_EVERY} batches" in PAGE


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (Path(__file__).parents[2] / "docs" / target).is_file(), target
