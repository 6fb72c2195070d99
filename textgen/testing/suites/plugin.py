"""The cases of every plugin: a good name, a class with the interface, a light import, described options."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from functools import cache
from typing import Any, ClassVar

import pytest

from textgen.errors import OptionError
from textgen.options import Options, build_options
from textgen.plugins.discovery import find_candidates
from textgen.plugins.registration import NAME, Provided
from textgen.plugins.registry import plugins
from textgen.testing import counting, recurrent, tiny
from textgen.testing.plugins import registered

#: Libraries that must not be imported for help, for lists, or while another plugin is used.
HEAVY = ("tensorflow", "keras", "torch", "jax", "numba", "onnxruntime", "matplotlib")

#: Imports the module of a plugin, then runs the programs of its names; prints the heavy libraries after each.
_IMPORTER = f"""
import importlib, json, sys
importlib.import_module(sys.argv[1])
for line in sys.stdin:
    exec(json.loads(line), {{}})
    print("heavy:", *[name for name in {HEAVY!r} if name in sys.modules], flush=True)
"""


@cache
def _importer(module: str, path: str) -> subprocess.Popen[str]:
    """A process for all names of a plugin."""
    return subprocess.Popen(
        [sys.executable, "-c", _IMPORTER, module],
        env=os.environ | {"PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def imported_by(module: str, program: str) -> list[str]:
    """The heavy libraries that a process has imported after it has imported a module and run a program."""
    process = _importer(module, os.pathsep.join(entry for entry in sys.path if entry))
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError):  # it has already failed, and its output says why
        print(json.dumps(program), file=process.stdin, flush=True)
    for line in process.stdout:
        if line.startswith("heavy:"):
            return line.split()[1:]
    _importer.cache_clear()
    raise AssertionError(process.communicate()[1])


class Kit:
    """The plugins that suites need."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def kit(cls) -> Iterator[None]:
        """Registers the tiny corpora and the two models of :mod:`textgen.testing`."""
        with ExitStack() as stack:
            for module in (counting, recurrent, tiny):
                stack.enter_context(registered(module, name=module.__name__, distribution="textgen-testing"))
            yield


class PluginSuite(Kit):
    """The base class of all suites.

    Attributes:
        name: the registered name of the plugin under test.
        kind: its kind; set by each suite.
        interface: its base class; set by each suite.
    """

    name: ClassVar[str]
    kind: ClassVar[str]
    interface: ClassVar[type]

    @property
    def provided(self) -> Provided:
        """The name, with its summary and its owner."""
        return plugins().find(self.kind, self.name)

    def light_use(self) -> str:
        """Python statements that must not import any heavy library; run after the import of the plugin's module."""
        return ""

    def test_it_has_a_name_and_a_summary(self) -> None:
        assert NAME.fullmatch(self.name), "lower case, words joined by hyphens"
        assert self.provided.summary.strip(), "lists show one line for each name"
        assert "\n" not in self.provided.summary

    def test_it_has_the_interface(self) -> None:
        factory = self.provided.load()
        assert isinstance(factory, type)
        assert issubclass(factory, self.interface)
        assert not getattr(factory, "__abstractmethods__", None)

    def test_its_import_is_light(self) -> None:
        owner = self.provided.plugin
        names = (owner.name, owner.distribution)
        values = [each.value for each in find_candidates() if (each.plugin.name, each.plugin.distribution) == names]
        if not values:
            pytest.skip(f"{owner.name} is registered for this test only: no entry point names its module")
        assert imported_by(values[0].partition(":")[0], self.light_use()) == []


class OptionsSuite(PluginSuite):
    """The base class of suites for plugins with options.

    Attributes:
        options: raw option values for the plugin under test, as in ``--set`` or a configuration file.
    """

    options: ClassVar[Mapping[str, Any]] = {}

    def make(self, *arguments: Any) -> Any:
        """An instance with :attr:`options`; ``arguments`` are those of the class besides its options."""
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
