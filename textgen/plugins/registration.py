"""Registration: the hooks of a plugin and the names that it provides, checked one by one."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pluggy

from textgen.base.environment import is_strict
from textgen.errors import PluginError, suggestion
from textgen.plugins.discovery import Plugin
from textgen.plugins.faults import contained, describe

#: The kinds of things that plugins provide, and the hook that registers each.
KINDS = {
    "corpus": "textgen_register_corpora",
    "tokenizer": "textgen_register_tokenizers",
    "model": "textgen_register_models",
    "sampler": "textgen_register_samplers",
    "exporter": "textgen_register_exporters",
    "runtime": "textgen_register_runtimes",
    "engine": "textgen_register_engines",
    "recipe": "textgen_register_recipes",
    "command": "textgen_register_commands",
}

#: Names of all that is registered, and of the plugins that ``textgen plugins new`` writes: lower case, words joined by
#: hyphens.
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Provided:
    """A name that a plugin provides.

    Attributes:
        kind: one of :data:`KINDS`.
        name: unique within its kind.
        target: ``"module:attribute"``, or the object itself.
        summary: one line for lists.
        plugin: the plugin that registered it.
    """

    kind: str
    name: str
    target: Any
    summary: str
    plugin: Plugin

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} of {self.plugin.origin}"

    def load(self) -> Any:
        """Imports the target.

        Raises:
            PluginError: if the import fails or the attribute does not exist.
        """
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        try:
            with contained():
                return getattr(importlib.import_module(module), attribute)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # some plugins exit if a library is missing
            if is_strict():
                raise
            raise PluginError(f"{self} cannot be loaded from {self.target}: {describe(error)}") from error


def collect_names(manager: pluggy.PluginManager, module: object, plugin: Plugin) -> list[Provided]:
    """The names that a plugin provides; it must be registered with pluggy.

    Raises:
        PluginError: if a name is not valid, or is registered twice.
        Exception: whatever the plugin raises.
    """
    collected: dict[tuple[str, str], Provided] = {}
    for kind, hook in KINDS.items():
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            if implementation.plugin is module:
                for provided in _ask(kind, implementation, plugin):
                    if (kind, provided.name) in collected:
                        raise PluginError(f"{kind} {provided.name!r} is registered twice")
                    collected[kind, provided.name] = provided
    return list(collected.values())


def _ask(kind: str, implementation: pluggy.HookImpl, plugin: Plugin) -> list[Provided]:
    provided: list[Provided] = []

    def register(name: str, target: Any, summary: str = "") -> None:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise PluginError(f"{kind} {name!r}: names are lower case, words joined by hyphens")
        if not isinstance(summary, str):
            raise PluginError(f"{kind} {name!r}: the summary must be a string, not {type(summary).__name__}")
        if not (isinstance(target, str | Mapping) or callable(target)):
            raise PluginError(f"{kind} {name!r}: the target must be 'module:attribute', or the object")
        provided.append(Provided(kind=kind, name=name, target=target, summary=summary, plugin=plugin))

    implementation.function(register)
    return provided


def hooks(manager: pluggy.PluginManager, specifications: ModuleType) -> dict[str, tuple[str, ...]]:
    """All hooks, with their arguments."""
    names = (name for name in dir(specifications) if manager.parse_hookspec_opts(specifications, name) is not None)
    return {name: tuple(getattr(manager.hook, name).spec.argnames) for name in names}


def implementations(manager: pluggy.PluginManager, module: object) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """The hooks that a plugin implements: name of the function, name of the hook, options of its marker."""
    for name in dir(module):
        options: Any = manager.parse_hookimpl_opts(module, name)
        if options is not None:
            yield name, options["specname"] or name, options


def check_hooks(manager: pluggy.PluginManager, module: object, known: Mapping[str, tuple[str, ...]]) -> None:
    """Checks the hooks of a plugin: pluggy reports mistakes on many lines, and accepts hooks that are never called.

    Raises:
        PluginError: if a hook is unknown or has a wrong argument; names the hook and similar names.
    """
    if manager.is_registered(module):
        raise PluginError(f"{getattr(module, '__name__', module)} is already registered by another entry point")
    for name, hook, options in implementations(manager, module):
        if hook not in known:
            if options["optionalhook"]:
                continue
            raise PluginError(f"unknown hook {hook!r}; {explain_unknown(hook, known)}")
        if options["wrapper"] or options["hookwrapper"]:
            raise PluginError(f"{hook} is a wrapper, and textgen never calls those; write a plain hookimpl")
        for parameter in inspect.signature(getattr(module, name)).parameters.values():
            if parameter.default is parameter.empty and parameter.name not in (*known[hook], "self"):
                arguments = ", ".join(known[hook])
                raise PluginError(f"{hook} has no argument {parameter.name!r}; it has: {arguments}")


def explain_unknown(hook: str, known: Mapping[str, tuple[str, ...]]) -> str:
    """Advice on an unknown hook: similar names, or what to do if it comes with a later version."""
    guess = suggestion(hook, known)
    if guess.startswith("did you mean"):
        return guess
    return "if a later textgen-rnn has it, mark it optionalhook=True"
