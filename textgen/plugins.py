"""Finding plugins, keeping the broken ones apart, and looking things up by name."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import pluggy

from textgen import hookspecs
from textgen.errors import PluginError, UnknownNameError

if TYPE_CHECKING:
    from textgen.sampling import Chain

GROUP = "textgen"
DISTRIBUTION = "textgen-rnn"

#: Kinds of things that plugins name, and the hook that names them.
KINDS = {
    "corpus": "textgen_register_corpora",
    "tokenizer": "textgen_register_tokenizers",
    "model": "textgen_register_models",
    "sampler": "textgen_register_samplers",
    "exporter": "textgen_register_exporters",
    "runtime": "textgen_register_runtimes",
    "recipe": "textgen_register_recipes",
    "command": "textgen_register_commands",
}


@dataclass(frozen=True)
class Plugin:
    """A plugin that was loaded: its entry point's name, and the distribution that brought it."""

    name: str
    distribution: str
    version: str


@dataclass(frozen=True)
class Provided:
    """A name that a plugin provides."""

    kind: str
    name: str
    target: Any
    summary: str
    plugin: Plugin

    def load(self) -> Any:
        """Import the target.

        Raises:
            PluginError: where the import fails or the attribute does not exist.
        """
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:
            if _strict():
                raise
            raise PluginError(
                f"{self.kind} {self.name!r} of {self.plugin.distribution} cannot be loaded from {self.target}: "
                f"{describe(error)}"
            ) from error


@dataclass(frozen=True)
class Problem:
    """A plugin that was skipped, and why, in one line."""

    plugin: Plugin
    reason: str

    def __str__(self) -> str:
        return f"plugin {self.plugin.name} of {self.plugin.distribution} {self.plugin.version}: {self.reason}"


class Plugins:
    """The plugins of this process.

    Args:
        allowed: names of plugins or distributions to load besides the bundled ones; ``None`` for all.

    Attributes:
        plugins: what was loaded, sorted.
        problems: what was skipped.
    """

    def __init__(self, allowed: frozenset[str] | None = None) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._owners: dict[str, Plugin] = {}
        self._provided: list[Provided] = []
        self.problems: list[Problem] = []
        for entry, plugin in sorted(_entry_points(), key=lambda found: (found[1].distribution, found[1].name)):
            if allowed is None or is_bundled(plugin) or {plugin.name, plugin.distribution} & allowed:
                self._load(entry, plugin)

    @property
    def plugins(self) -> list[Plugin]:
        return sorted(self._owners.values(), key=lambda plugin: (plugin.distribution, plugin.name))

    def _load(self, entry: EntryPoint, plugin: Plugin) -> None:
        try:
            module = entry.load()
        except Exception as error:
            self._skip(plugin, f"cannot be imported: {describe(error)}", error)
        else:
            self.register(module, plugin)

    def register(self, module: object, plugin: Plugin) -> None:
        """Add a plugin that was imported; one that fails is skipped as a whole and kept in :attr:`problems`."""
        key = f"{plugin.distribution}/{plugin.name}"
        try:
            self._manager.register(module, name=key)
            self._manager.check_pending()  # a hook of an unknown name
            provided = [item for kind in KINDS for item in self._names(kind, module, plugin)]
        except Exception as error:
            if self._manager.has_plugin(key):
                self._manager.unregister(name=key)
            self._skip(plugin, f"cannot be registered: {describe(error)}", error)
        else:
            self._owners[key] = plugin
            self._provided += provided

    def unregister(self, plugin: Plugin) -> None:
        """Take a plugin away again, with its names, hooks and problems."""
        key = f"{plugin.distribution}/{plugin.name}"
        self._owners.pop(key, None)
        if self._manager.has_plugin(key):
            self._manager.unregister(name=key)
        self._provided = [item for item in self._provided if item.plugin != plugin]
        self.problems = [problem for problem in self.problems if problem.plugin != plugin]

    def _names(self, kind: str, module: object, plugin: Plugin) -> Iterator[Provided]:
        for implementation in self._implementations(KINDS[kind]):
            if implementation.plugin is module:
                found: list[Provided] = []

                def register(name: str, target: Any, summary: str = "", found: list[Provided] = found) -> None:
                    found.append(Provided(kind, name, target, summary, plugin))

                implementation.function(register)
                yield from found

    def _skip(self, plugin: Plugin, reason: str, error: Exception) -> None:
        if _strict():
            raise error
        self.problems.append(Problem(plugin, reason))

    def provided(self, kind: str) -> list[Provided]:
        """Everything of a kind, sorted by name."""
        return sorted((item for item in self._provided if item.kind == kind), key=lambda item: item.name)

    def find(self, kind: str, name: str) -> Provided:
        """The owner of a name.

        Raises:
            UnknownNameError: where no plugin provides it.
            PluginError: where two plugins do.
        """
        owners = [item for item in self._provided if (item.kind, item.name) == (kind, name)]
        if not owners:
            raise UnknownNameError(kind, name, {item.name for item in self.provided(kind)})
        if len(owners) > 1:
            claims = " and ".join(sorted(f"{item.plugin.distribution} {item.plugin.version}" for item in owners))
            raise PluginError(
                f"{kind} {name!r} is claimed by {claims}; uninstall one, or name those to load in TEXTGEN_PLUGINS"
            )
        return owners[0]

    def get(self, kind: str, name: str) -> Any:
        """What a name stands for, imported: :meth:`find`, then :meth:`Provided.load`."""
        return self.find(kind, name).load()

    def make(self, kind: str, settings: Mapping[str, Any], *arguments: Any) -> Any:
        """An instance of the class that a table of settings names.

        Args:
            kind: such as ``"corpus"``; names the table in errors.
            settings: ``name``, and the values of the class's options.
            *arguments: what the class takes besides its options.

        Raises:
            OptionError: for an option that is unknown or out of range.
        """
        from textgen.options import build_options  # pydantic can wait until a plugin is used

        factory = self.get(kind, settings["name"])
        values = {name: value for name, value in settings.items() if name != "name"}
        return factory(build_options(factory.Options, values, where=kind), *arguments)

    def chain(self, text: str) -> Chain:
        """A written sampler chain, built of the registered samplers."""
        from textgen.sampling import Chain

        return Chain(text, lambda name: self.get("sampler", name))

    def notify(self, hook: str, /, **arguments: Any) -> None:
        """Call a life-cycle hook of every plugin, in the order of :attr:`plugins`.

        A plugin that raises is told of once and left out from then on; the others are called all the same.
        """
        for implementation in self._implementations(hook):
            self._invoke(hook, implementation, arguments)

    def transform(self, hook: str, /, **arguments: Any) -> Any:
        """Call a life-cycle hook that may replace its first argument; each plugin gets what the one before it left."""
        name = next(iter(arguments))
        for implementation in self._implementations(hook):
            result = self._invoke(hook, implementation, arguments)
            if result is not None:
                arguments[name] = result
        return arguments[name]

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        return caller.get_hookimpls()

    def _invoke(self, hook: str, implementation: pluggy.HookImpl, arguments: Mapping[str, Any]) -> Any:
        try:
            return implementation.function(*(arguments[name] for name in implementation.argnames))
        except Exception as error:
            owner = self._owners[implementation.plugin_name]
            self._manager.unregister(name=implementation.plugin_name)
            reason = f"{hook} raised {describe(error)}; its hooks are left out from here on"
            self._skip(owner, reason, error)
            tell(self.problems[-1])
            return None

    def implements(self, hook: str) -> bool:
        """Whether any plugin implements a hook."""
        return bool(self._implementations(hook))


def tell(problem: Problem) -> None:
    """Say a problem on stderr, in one line."""
    import sys

    print(f"textgen: {problem}", file=sys.stderr)


def describe(error: BaseException) -> str:
    """An exception in one line, with its type."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def is_bundled(plugin: Plugin) -> bool:
    """Whether a plugin came with textgen itself."""
    return plugin.distribution == DISTRIBUTION


def _entry_points() -> Iterator[tuple[EntryPoint, Plugin]]:
    for entry in entry_points(group=GROUP):
        assert entry.dist is not None  # one that was found on the path
        yield entry, Plugin(entry.name, entry.dist.name.lower().replace("_", "-"), entry.dist.version)


def _strict() -> bool:
    return os.environ.get("TEXTGEN_STRICT") == "1"


def _allowed(environment: Mapping[str, str]) -> frozenset[str] | None:
    listed = environment.get("TEXTGEN_PLUGINS")
    if listed is None:
        return None
    return frozenset(name.strip() for name in listed.split(",") if name.strip())


@cache
def plugins() -> Plugins:
    """The plugins that this process loads, by ``TEXTGEN_PLUGINS``; found at the first call, problems told once."""
    found = Plugins(_allowed(os.environ))
    for problem in found.problems:
        tell(problem)
    return found
