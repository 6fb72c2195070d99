"""The suite of life-cycle plugins: good plugins pass, and each broken one fails the case for its fault."""

import inspect
import os
import random
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import Field

import textgen.training.plot
from textgen import hookimpl
from textgen.files.writing import write_atomically
from textgen.options import Options
from textgen.testing import counting, registered, tiny
from textgen.testing.suites import LifeCycleSuite

CASES = [name for name in dir(LifeCycleSuite) if name.startswith("test_") and "import" not in name]


class WatchOptions(Options):
    every: int = Field(2, ge=1, description="Batches between looks.")


class Undescribed(Options):
    every: int = 2


class Needed(Options):
    every: int = Field(description="Batches between looks.")


@hookimpl
def textgen_batch_ended(loss, folder, options):
    assert loss > 0
    assert options.every >= 1


@hookimpl
def textgen_transform_batch(batch, position):
    return replace(batch, weights=batch.weights * 2) if position.total % 2 else None


def watching(schema=WatchOptions, **hooks):
    """A plugin with good hooks, other than those that are given."""
    good = {"textgen_batch_ended": textgen_batch_ended, "textgen_transform_batch": textgen_transform_batch}
    return SimpleNamespace(Options=schema, **{**good, **{name: hookimpl(hook) for name, hook in hooks.items()}})


class Subject(LifeCycleSuite):
    name = "subject"


@pytest.fixture
def passes(tmp_path, monkeypatch):
    """Whether a plugin passes a case."""
    monkeypatch.setattr(textgen.training.plot, "save_training_plot", lambda _, path: write_atomically(path, b""))
    monkeypatch.chdir(tmp_path)

    def passes(plugin, case):
        values = {"tmp_path": tmp_path / case, "monkeypatch": monkeypatch, "status": "finished"}
        values["tmp_path"].mkdir()
        with ExitStack() as stack:
            for module in (counting, tiny):
                stack.enter_context(registered(module, name=module.__name__, distribution="kit"))
            stack.enter_context(registered(plugin, name="subject"))
            method = getattr(Subject(), case)
            try:
                method(**{name: values[name] for name in inspect.signature(method).parameters})
            except (AssertionError, ZeroDivisionError):
                return False
        return True

    return passes


@pytest.mark.parametrize("case", CASES)
def test_a_good_plugin_passes(passes, case):
    assert passes(watching(), case)


def chdir(position):
    os.chdir("/")


def seed(position):
    random.seed(1)


def seed_numpy(position):
    np.random.seed(1)


def silence(folder):
    sys.stdout = None


def environment(folder):
    os.environ["SUBJECT"] = "1"


def zero_weights(batch):
    batch.weights[:] = 0


def zero_metrics(metrics):
    metrics["loss"] = 0


def wild_ids(batch):
    return replace(batch, inputs=batch.inputs + 1000)


def number(batch):
    return 5


def raising(status):
    return 1 / 0


def slow(loss):
    time.sleep(0.01)


def forgetting():
    seen = []

    def transform(batch):
        seen.append(batch)  # how many there were before is not part of a checkpoint
        return replace(batch, weights=batch.weights * len(seen))

    return transform


BROKEN = [
    ("test_it_implements_life_cycle_hooks", SimpleNamespace(textgen_register_corpora=hookimpl(lambda register: None))),
    ("test_its_options_are_described_and_have_defaults", watching(Undescribed)),
    ("test_its_options_are_described_and_have_defaults", watching(Needed)),
    ("test_it_survives_every_hook_in_order", watching(textgen_run_ended=raising)),
    ("test_it_survives_every_hook_in_order", watching(textgen_transform_batch=wild_ids)),
    ("test_it_survives_every_hook_in_order", watching(textgen_transform_batch=number)),
    ("test_it_does_not_write_to_its_arguments", watching(textgen_transform_batch=zero_weights)),
    ("test_it_does_not_write_to_its_arguments", watching(textgen_epoch_ended=zero_metrics)),
    ("test_it_leaves_the_process_as_it_was", watching(textgen_batch_ended=chdir)),
    ("test_it_leaves_the_process_as_it_was", watching(textgen_batch_ended=seed)),
    ("test_it_leaves_the_process_as_it_was", watching(textgen_batch_ended=seed_numpy)),
    ("test_it_leaves_the_process_as_it_was", watching(textgen_run_started=silence)),
    ("test_it_leaves_the_process_as_it_was", watching(textgen_run_ended=environment)),
    ("test_it_is_fast", watching(textgen_batch_ended=slow)),
    ("test_a_run_works_with_it", watching(textgen_run_ended=raising)),
    ("test_a_resumed_run_is_the_same", watching(textgen_transform_batch=forgetting())),
]


@pytest.mark.parametrize(("case", "plugin"), BROKEN)
def test_a_broken_plugin_fails(passes, monkeypatch, case, plugin):
    streams = sys.stdout
    monkeypatch.setenv("SUBJECT", "0")
    try:
        assert not passes(plugin, case)
    finally:
        sys.stdout = streams


def test_every_case_was_seen_to_fail():
    assert {case for case, _ in BROKEN} == set(CASES)
