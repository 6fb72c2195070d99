"""docs/training.md names every option of models and training, their choices, and every environment variable."""

import re
from pathlib import Path
from typing import get_args

import pytest

from textgen.plugins.registry import plugins
from textgen.training.tensorboard import EVENTS_EVERY
from textgen_corpora.file_options import FORMATS
from textgen_keras import GradientOptions

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def named(table: str) -> set[str]:
    return set(re.findall(rf"\b{table}\.(?!md\b|png\b)([a-z_]+)", PAGE))


@pytest.mark.parametrize("model", ["gru", "lstm"])
def test_every_option_of_a_model_exists_and_is_named(model):
    options = plugins().get("model", model).Options.model_fields
    assert named("model") == {*options, *plugins().get("model", "ngram").Options.model_fields}


def test_every_option_of_training_exists_and_is_named():
    assert named("training") == set(GradientOptions.model_fields)


def test_every_option_of_own_text_is_named():
    own, news = (set(plugins().get("corpus", name).Options.model_fields) for name in ("file", "agnews"))
    assert own <= named("corpus") <= own | news


def test_every_suffix_is_named():
    suffixes = FORMATS.keys() | {".gz"}
    assert all(f"`{suffix}`" in PAGE for suffix in suffixes)


@pytest.mark.parametrize("option", ["layout", "schedule"])
def test_every_choice_is_named(option):
    choices = get_args(GradientOptions.model_fields[option].annotation)
    assert choices
    for choice in choices:
        assert f"`{choice}`" in PAGE


def test_the_options_that_may_change_on_resuming_are_named():
    (sentence,) = re.findall(r"On resuming, only (.*?) may change", PAGE)
    assert re.findall(r"`training\.(\w+)`", sentence) == list(GradientOptions.resumable)


def test_the_interval_of_tensorboard_points_is_stated():
    assert f"every {EVENTS_EVERY} batches" in PAGE


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (ROOT / "docs" / target).is_file(), target


def test_the_table_lists_every_environment_variable():
    sources = [path for folder in ("textgen", "plugins", "exports") for path in (ROOT / folder).rglob("*.py")]
    used = {name for path in sources for name in re.findall(r"\bTEXTGEN_[A-Z_]+", path.read_text(encoding="utf-8"))}
    assert set(re.findall(r"^\| `(TEXTGEN_[A-Z_]+)` \|", PAGE, re.MULTILINE)) == used
