"""The requirements for plugins with life-cycle hooks."""

from __future__ import annotations

import copy
import inspect
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import textgen
from textgen import Batch, Position
from textgen.base.environment import STRICT
from textgen.options import Options, build_options
from textgen.plugins.discovery import Plugin, find_candidates
from textgen.plugins.hookspecs import PROJECT
from textgen.plugins.registration import KINDS
from textgen.plugins.registry import plugins
from textgen.testing.suites.plugin import Kit, imported_by

#: Seconds that the hooks of a batch may take.
SLOWEST = 0.005

#: The batches of a sequence of hooks.
BATCHES = 20


class LifeCycleSuite(Kit):
    """Cases for a plugin that implements life-cycle hooks.

    Example:
        >>> class TestLog(LifeCycleSuite):
        ...     name = "log"
        ...     options = {"every": 2}

    Attributes:
        name: the name of the plugin, as its entry point has it.
        options: values of its own options, as in ``--set plugins.NAME.OPTION=VALUE``.
    """

    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}

    @property
    def owner(self) -> Plugin:
        """The plugin under test."""
        return next(plugin for plugin in plugins().plugins if plugin.name == self.name)

    @property
    def hooks(self) -> dict[str, Callable[..., Any]]:
        """The hooks that it implements, by name."""
        module = plugins().module(self.owner)
        found = {}
        for name in dir(module):
            marked = getattr(getattr(module, name, None), f"{PROJECT}_impl", None)
            if marked is not None:
                found[marked["specname"] or name] = getattr(module, name)
        return found

    def call(self, hook: str, **arguments: Any) -> Any:
        """Calls a hook, if the plugin implements it, with those of the arguments that it names."""
        function = self.hooks.get(hook)
        if function is None:
            return None
        named = inspect.signature(function).parameters.values()
        return function(**{each.name: arguments[each.name] for each in named if each.default is each.empty})

    def make_options(self) -> Options | None:
        """Its own options, with the values of :attr:`options`; ``None`` if it has none."""
        schema = plugins().schemas().get(self.name)
        return None if schema is None else build_options(schema, self.options, where=f"plugins.{self.name}")

    def events(self, folder: Path, status: str = "finished") -> Iterator[tuple[str, dict[str, Any]]]:
        """The hooks of a run of one epoch and their arguments, in the order in which textgen calls them."""
        always = {"folder": folder, "options": self.make_options()}
        settings = {"corpus": {"name": "tiny-documents"}, "model": {"name": "counting", "smoothing": 1.0}}
        yield "textgen_run_started", {"settings": settings, "position": Position(), **always}
        ids = np.arange(24, dtype=np.int32).reshape(4, 6) % 7
        for step in range(BATCHES):
            batch = Batch(ids.copy(), ids.copy(), np.ones(ids.shape, np.float32))
            yield "textgen_transform_batch", {"batch": batch, "position": Position(0, step, step), **always}
            yield "textgen_batch_ended", {"position": Position(0, step + 1, step + 1), "loss": 1 / (step + 1), **always}
        metrics = {"epoch": 1, "step": BATCHES, "loss": 0.5, "held_out_loss": 0.75} if status == "finished" else {}
        if status == "finished":
            done = Position(1, 0, BATCHES)
            yield "textgen_checkpoint_saved", {"position": done, "path": folder / "step.safetensors", **always}
            yield "textgen_epoch_ended", {"position": done, "metrics": dict(metrics), **always}
        yield "textgen_run_ended", {"settings": settings, "status": status, "metrics": metrics, **always}

    def train(self, folder: Path, **training: Any) -> textgen.TextGenerator:
        """Trains a tiny model with the plugin."""
        settings: dict[str, dict[str, Any]] = {
            "training": {"epochs": 2, "batch_size": 8, "sample_every": 0, **training},
            **({"plugins": {self.name: dict(self.options)}} if plugins().schemas().get(self.name) else {}),
        }
        return textgen.train("tiny-documents", "counting", settings=settings, out=folder)

    def test_it_implements_life_cycle_hooks(self) -> None:
        assert set(self.hooks) & (plugins().hooks.keys() - set(KINDS.values()))

    def test_its_import_is_light(self) -> None:
        names = (self.owner.name, self.owner.distribution)
        values = [each.value for each in find_candidates() if (each.plugin.name, each.plugin.distribution) == names]
        if not values:
            pytest.skip(f"{self.name} is registered for this test only: no entry point names its module")
        assert imported_by(values[0].partition(":")[0], "") == []

    def test_its_options_are_described_and_have_defaults(self) -> None:
        schema = plugins().schemas().get(self.name)
        if schema is None:
            pytest.skip("it has no options")
        assert schema.model_config.get("extra") == "forbid"
        assert schema.model_config.get("frozen")
        for name, field in schema.model_fields.items():
            assert field.description, f"the option {name} has no description, which is its help text"
            assert not field.is_required(), f"nobody can train while the option {name} is not given"
        options = self.make_options()
        assert options is not None
        written = json.loads(json.dumps(options.model_dump(mode="json")))
        assert build_options(schema, written, where="plugins") == options

    @pytest.mark.parametrize("status", ["finished", "interrupted", "failed"])
    def test_it_survives_every_hook_in_order(self, tmp_path: Path, status: str) -> None:
        for hook, arguments in self.events(tmp_path, status):
            result = self.call(hook, **arguments)
            expected = Batch if hook == "textgen_transform_batch" else type(None)
            assert result is None or isinstance(result, expected), hook
            if result is not None:
                assert result.fault(vocab_size=7) is None

    def test_it_does_not_write_to_its_arguments(self, tmp_path: Path) -> None:
        for hook, arguments in self.events(tmp_path):
            before = copy.deepcopy(arguments)
            self.call(hook, **arguments)
            batch, former = arguments.pop("batch", None), before.pop("batch", None)
            assert arguments == before, hook
            if batch is not None:
                for name in ("inputs", "targets", "weights"):
                    np.testing.assert_array_equal(getattr(batch, name), getattr(former, name))

    def test_it_leaves_the_process_as_it_was(self, tmp_path: Path) -> None:
        def surroundings() -> list[Any]:
            numpy_state: Any = np.random.get_state()
            handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
            state = [numpy_state[0], numpy_state[1].tolist(), *numpy_state[2:]]
            return [os.getcwd(), sys.stdout, sys.stderr, random.getstate(), state, dict(os.environ), handlers]

        for hook, arguments in self.events(tmp_path):
            before = surroundings()
            self.call(hook, **arguments)
            assert surroundings() == before, hook

    def test_it_is_fast(self, tmp_path: Path) -> None:
        def seconds() -> float:
            spent = 0.0
            for hook, arguments in self.events(tmp_path):
                began = time.perf_counter()
                self.call(hook, **arguments)
                spent += time.perf_counter() - began if "batch" in hook else 0
            return spent / BATCHES

        assert min(seconds() for _ in range(3)) < SLOWEST, "every batch waits for its hooks"

    def test_a_run_works_with_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(STRICT.name, "1")  # errors in hooks are raised
        generator = self.train(tmp_path / "run")
        assert generator.artifact.manifest.status == "finished"
        assert generator.generate("a", length=5, seed=1).startswith("a")

    def test_a_resumed_run_is_the_same(self, tmp_path: Path) -> None:
        from textgen.training.display import Display
        from textgen.training.train import resume

        whole = self.train(tmp_path / "whole").artifact.weights()
        self.train(tmp_path / "part", max_steps=3)
        changes = {"training": {"max_steps": None}}
        part = resume(tmp_path / "part", plugins(), Display(), changes=changes).weights()
        for name, array in whole.items():
            np.testing.assert_array_equal(array, part[name])
