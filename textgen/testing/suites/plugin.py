"""What is asked of a plugin of any kind: a good name, a class with the interface, a light import, described options."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from importlib.metadata import entry_points
from typing import Any, ClassVar

import pytest

from textgen.errors import OptionError
from textgen.options import Options, build_options
from textgen.plugins.discovery import GROUP
from textgen.plugins.registration import NAME, Provided
from textgen.plugins.registry import plugins
from textgen.testing import counting, recurrent, tiny
from textgen.testing.plugins import registered

#: What nobody should wait for who only asks for help, or uses another plugin.
HEAVY = ("tensorflow", "keras", "torch", "jax", "numba", "onnxruntime", "matplotlib")


class PluginSuite:
    """Base of all suites.

    Attributes:
        name: the registered name of what is tested.
        kind: of plugin; set by each suite.
        interface: what the class must be a subclass of; set by each suite.
    """

    name: ClassVar[str]
    kind: ClassVar[str]
    interface: ClassVar[type]

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def kit(cls) -> Iterator[None]:
        """The tiny corpora and the fake models, registered."""
        with ExitStack() as stack:
            for module in (counting, recurrent, tiny):
                stack.enter_context(registered(module, name=module.__name__, distribution="textgen-testing"))
            yield

    @property
    def provided(self) -> Provided:
        """The name, its summary and its owner."""
        return plugins().find(self.kind, self.name)

    def light_use(self) -> str:
        """Python statements that must import nothing heavy; run after the plugin's own module was imported."""
        return ""

    def test_it_has_a_name_and_a_summary(self) -> None:
        assert NAME.fullmatch(self.name), "lower case, words joined by hyphens"
        assert self.provided.summary.strip(), "lists show a line on each name"
        assert "\n" not in self.provided.summary

    def test_it_has_the_interface(self) -> None:
        factory = self.provided.load()
        assert isinstance(factory, type)
        assert issubclass(factory, self.interface)
        assert not getattr(factory, "__abstractmethods__", None)

    def test_its_import_is_light(self) -> None:
        owner = self.provided.plugin
        entries = [
            entry
            for entry in entry_points(group=GROUP, name=owner.name)
            if entry.dist is not None and entry.dist.name.lower().replace("_", "-") == owner.distribution
        ]
        if not entries:
            pytest.skip(f"{owner.name} is registered for this test only: no entry point names its module")
        program = "\n".join(
            [
                "import importlib, sys",
                f"importlib.import_module({entries[0].module!r})",
                self.light_use(),
                f"print('heavy:', *[name for name in {HEAVY!r} if name in sys.modules])",
            ]
        )
        path = os.pathsep.join(entry for entry in sys.path if entry)
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split("heavy:")[1].split() == []


class OptionsSuite(PluginSuite):
    """Base of the suites of plugins that have options.

    Attributes:
        options: raw option values to make the plugin with, as ``--set`` or a configuration file gives them.
    """

    options: ClassVar[Mapping[str, Any]] = {}

    def make(self, *arguments: Any) -> Any:
        """An instance with :attr:`options`; the arguments are what the class takes besides."""
        return plugins().make(self.kind, {"name": self.name, **self.options}, *arguments)

    def test_its_options_are_a_described_schema(self) -> None:
        schema = self.provided.load().Options
        assert issubclass(schema, Options)
        assert schema.model_config.get("extra") == "forbid"
        assert schema.model_config.get("frozen")
        for name, field in schema.model_fields.items():
            assert field.description, f"the option {name} has no description, which is its help text"
        with pytest.raises(OptionError):
            build_options(schema, {**self.options, "no_such_option": 1}, where=self.kind)

    def test_its_options_come_back_from_json(self) -> None:
        schema = self.provided.load().Options
        options = build_options(schema, self.options, where=self.kind)
        written = json.loads(json.dumps(options.model_dump(mode="json")))
        assert build_options(schema, written, where=self.kind) == options
