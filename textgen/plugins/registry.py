"""Finding plugins, keeping the broken ones apart, and looking things up by name."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from textgen.base.console import notice
from textgen.base.environment import is_strict
from textgen.errors import PluginError, TextgenError, UnknownNameError
from textgen.plugins import hookspecs
from textgen.plugins.discovery import DISTRIBUTION, GROUP, Candidate, Plugin, find_candidates, find_file
from textgen.plugins.faults import Problem, describe, find_culprit, locate
from textgen.plugins.registration import KINDS, Provided, check_hooks, collect_names, hooks

if TYPE_CHECKING:
    from textgen.generation.chain import Chain

__all__ = ["DISTRIBUTION", "GROUP", "KINDS", "Plugin", "Provided", "Registry", "is_bundled", "plugins", "use_plugins"]


class Registry:
    """The plugins of this process.

    Args:
        allowed: names of plugins or distributions to load besides the bundled ones; ``None`` for all.
        without: names of plugins or distributions to leave out, bundled ones too.
        files: plugins without a distribution, a file each, which are loaded whatever is allowed.

    Attributes:
        candidates: what there is to load, by what it is.
        problems: what was skipped.
        hooks: those that plugins may implement, with their arguments.

    Raises:
        UnknownNameError: for a name in ``without`` that no plugin and no distribution has.
        PluginError: for a file that cannot be loaded.
    """

    def __init__(
        self,
        allowed: frozenset[str] | None = None,
        *,
        without: Collection[str] = (),
        files: Iterable[Path] = (),
    ) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self.hooks = hooks(self._manager, hookspecs)
        self._owners: dict[str, Plugin] = {}
        self._provided: list[Provided] = []
        self._packages: dict[str, Plugin] = {}
        self._used: dict[Plugin, None] = {}
        self._told: set[str] = set()
        self.problems: list[Problem] = []
        self.candidates = {candidate.plugin: candidate for candidate in find_candidates()}
        names = {name for plugin in self.candidates for name in (plugin.name, plugin.distribution)}
        for name in without:
            if name not in names:
                raise UnknownNameError("plugin", name, names)
        for plugin, candidate in self.candidates.items():
            wanted = allowed is None or is_bundled(plugin) or {plugin.name, plugin.distribution} & allowed
            if wanted and not {plugin.name, plugin.distribution} & set(without):
                self._load(candidate)
        for path in files:
            candidate = self.candidates.setdefault((found := find_file(path)).plugin, found)
            self._load(candidate)
            if candidate.plugin not in self.plugins:
                raise PluginError(str(self.problems.pop()))

    @property
    def plugins(self) -> list[Plugin]:
        """What was loaded, sorted."""
        return sorted(self._owners.values(), key=lambda plugin: (plugin.distribution, plugin.name))

    @property
    def left_out(self) -> list[Plugin]:
        """What was not asked for."""
        seen = {*self._owners.values(), *(problem.plugin for problem in self.problems)}
        return [plugin for plugin in self.candidates if plugin not in seen]

    def module(self, plugin: Plugin) -> object:
        """The module, or object, that a loaded plugin is."""
        return self._manager.get_plugin(_key(plugin))

    def _load(self, candidate: Candidate) -> None:
        try:
            with redirect_stdout(sys.stderr):  # what it prints is not what a command was asked for
                module = candidate.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too
            self._skip(candidate.plugin, f"cannot be imported: {describe(error)}", error)
        else:
            self.register(module, candidate.plugin)

    def register(self, module: object, plugin: Plugin) -> None:
        """Add a plugin that was imported; one that fails is skipped as a whole and kept in :attr:`problems`."""
        key = _key(plugin)
        try:
            check_hooks(self._manager, module, self.hooks)
            self._manager.register(module, name=key)
            with redirect_stdout(sys.stderr):
                provided = collect_names(self._manager, module, plugin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if self._manager.get_plugin(key) is module:
                self._manager.unregister(name=key)
            file = getattr(module, "__file__", None)
            self._skip(plugin, f"cannot be registered: {describe(error)}", error, file)
        else:
            self._owners[key] = plugin
            self._provided += provided
            self._note_packages(module, plugin, provided)

    def _note_packages(self, module: object, plugin: Plugin, provided: Iterable[Provided]) -> None:
        targets = [item.target.partition(":")[0] for item in provided if isinstance(item.target, str)]
        objects = [item.target for item in provided] + [found.function for found in self._hooks_of(module)]
        modules = [*targets, *(getattr(each, "__module__", None) or "" for each in objects)]
        for root in {name.partition(".")[0] for name in modules} - {"textgen"}:
            self._packages.setdefault(root, plugin)

    def unregister(self, plugin: Plugin) -> None:
        """Take a plugin away again, with its names, hooks and problems."""
        key = _key(plugin)
        self._owners.pop(key, None)
        if self._manager.has_plugin(key):
            self._manager.unregister(name=key)
        self._provided = [item for item in self._provided if item.plugin != plugin]
        self._packages = {root: owner for root, owner in self._packages.items() if owner != plugin}
        self._used.pop(plugin, None)
        self.problems = [problem for problem in self.problems if problem.plugin != plugin]

    def _skip(self, plugin: Plugin, reason: str, error: BaseException, file: str | None = None) -> None:
        if is_strict():
            raise error
        candidate = self.candidates.get(plugin)
        place = locate(error) or file or (candidate.place if candidate else "")
        self.problems.append(Problem(plugin, reason, place))

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
            claims = " and ".join(sorted(item.plugin.origin for item in owners))
            names = sorted(item.plugin.distribution for item in owners if not item.plugin.is_file)
            leave = " or ".join(f"--no-plugin {name}" for name in names)
            raise PluginError(f"{kind} {name!r} is claimed by {claims}; uninstall one, or leave it out with {leave}")
        return owners[0]

    def get(self, kind: str, name: str) -> Any:
        """What a name stands for, imported: :meth:`find`, then :meth:`Provided.load`."""
        provided = self.find(kind, name)
        self._used[provided.plugin] = None
        return provided.load()

    def make(self, kind: str, settings: Mapping[str, Any], *arguments: Any) -> Any:
        """An instance of the class that a table of settings names.

        Args:
            kind: such as ``"corpus"``; names the table in errors.
            settings: ``name``, and the values of the class's options.
            *arguments: what the class takes besides its options.

        Raises:
            OptionError: for an option that is unknown or out of range.
            PluginError: where the class of a third party fails otherwise.
        """
        from textgen.options import build_options  # pydantic can wait until a plugin is used

        provided = self.find(kind, settings["name"])
        factory = self.get(kind, settings["name"])
        values = {name: value for name, value in settings.items() if name != "name"}
        try:
            return factory(build_options(factory.Options, values, where=kind), *arguments)
        except (TextgenError, OSError):
            raise
        except Exception as error:
            if is_strict() or is_bundled(provided.plugin):
                raise
            raise PluginError(f"{provided} cannot be made: {describe(error)}") from error

    def chain(self, text: str) -> Chain:
        """A written sampler chain, built of the registered samplers."""
        from textgen.generation.chain import Chain

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
        wanted = type(arguments[name])
        for implementation in self._implementations(hook):
            result = self._invoke(hook, implementation, arguments)
            if isinstance(result, wanted):
                arguments[name] = result
            elif result is not None:
                error = TypeError(f"{type(result).__name__} is no {wanted.__name__}")
                self._silence(implementation, f"{hook} returned {type(result).__name__}, no {wanted.__name__}", error)
        return arguments[name]

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        return sorted(caller.get_hookimpls(), key=lambda found: found.trylast - found.tryfirst)

    def _hooks_of(self, module: object) -> list[pluggy.HookImpl]:
        return [found for hook in self.hooks for found in self._implementations(hook) if found.plugin is module]

    def _invoke(self, hook: str, implementation: pluggy.HookImpl, arguments: Mapping[str, Any]) -> Any:
        try:
            return implementation.function(*(arguments[name] for name in implementation.argnames))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._silence(implementation, f"{hook} raised {describe(error)}", error)
            return None

    def _silence(self, implementation: pluggy.HookImpl, fault: str, error: BaseException) -> None:
        owner = self._owners[implementation.plugin_name]
        self._manager.unregister(name=implementation.plugin_name)
        self._skip(owner, f"{fault}; its hooks are left out from here on", error)
        notice(self.problems[-1])

    def implementers(self, hook: str) -> list[Plugin]:
        """The plugins that implement a hook, in the order in which they are called."""
        return [self._owners[found.plugin_name] for found in self._implementations(hook)]

    def culprit(self, error: BaseException) -> tuple[Plugin, str] | None:
        """The plugin of a third party whose code raised an error, or called what raised it, and the file and line."""
        others = {root: plugin for root, plugin in self._packages.items() if not is_bundled(plugin)}
        return find_culprit(error, others)

    def blame(self, error: BaseException) -> str | None:
        """An unforeseen error in one line that names the plugin which it comes from, or may come from.

        Returns:
            ``None`` where no plugin of a third party has anything to do with it.
        """
        culprit = self.culprit(error)
        if culprit is not None:
            return f"plugin {culprit[0]} failed: {describe(error)} ({culprit[1]})"
        if not isinstance(error, Exception):  # typer exits so where nobody reads the output
            return None
        used = [f"plugin {plugin}" for plugin in self._used if not is_bundled(plugin)]
        return f"{describe(error)}, with {' and '.join(used)} in use" if used else None

    def tell_once(self, text: str) -> None:
        """Say something on stderr, unless it was said before."""
        if text not in self._told:
            self._told.add(text)
            notice(text)


def is_bundled(plugin: Plugin) -> bool:
    """Whether a plugin came with textgen itself."""
    return plugin.distribution == DISTRIBUTION


def _key(plugin: Plugin) -> str:
    return f"{plugin.distribution}/{plugin.name}"


#: The plugins of this process, once they were asked for.
_found: list[Registry] = []


def plugins() -> Registry:
    """The plugins that this process loads: as :func:`use_plugins` said, else all that are installed."""
    return _found[0] if _found else use_plugins()


def use_plugins(*, files: Iterable[str | Path] = (), without: Collection[str] = ()) -> Registry:
    """Find the plugins of this process, anew where that was done before; what is skipped is told on stderr.

    ``TEXTGEN_PLUGINS`` lists the names of plugins or distributions to load besides the bundled ones; where it is not
    set all are loaded.

    Args:
        files: plugins that are a single file each.
        without: names of plugins or distributions to leave out, bundled ones too.

    Raises:
        UnknownNameError: for a name in ``without`` that no plugin and no distribution has.
        PluginError: for a file that cannot be loaded.

    Example:
        >>> from textgen.plugins import use_plugins
        >>> use_plugins(files=["mine.py"]).get("sampler", "typical")  # doctest: +SKIP
    """
    listed = os.environ.get("TEXTGEN_PLUGINS")
    allowed = None if listed is None else frozenset(name.strip() for name in listed.split(",") if name.strip())
    found = Registry(allowed, files=map(Path, files), without=without)
    for problem in found.problems:
        notice(problem)
    _found[:] = [found]
    return found
