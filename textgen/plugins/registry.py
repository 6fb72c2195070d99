"""The registry of plugins: loads them, sets broken ones aside, and looks names up."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import pluggy

from textgen.base import values
from textgen.base.console import notice
from textgen.base.environment import allowed_plugins, is_strict
from textgen.errors import PluginError, TextgenError, UnknownNameError
from textgen.plugins import hookspecs
from textgen.plugins.discovery import DISTRIBUTION, Candidate, Plugin, find_candidates, find_file
from textgen.plugins.faults import Problem, contained, describe, exit_place, find_culprit, locate
from textgen.plugins.life_cycle import Hooks
from textgen.plugins.registration import Provided, check_hooks, collect_names, hooks

if TYPE_CHECKING:
    from textgen.generation.runtime import Runtime
    from textgen.model.model import Model
    from textgen.options import Options
    from textgen.sampling.chain import Chain
    from textgen.sampling.sampler import Sampler, Selector
    from textgen.text.corpus import Corpus
    from textgen.text.tokenizer import Tokenizer


class Registry:
    """The plugins of this process and the names that they provide.

    Args:
        allowed: names of plugins or distributions to load besides the bundled ones; ``None`` for all.
        without: names of plugins or distributions to leave out, bundled ones too.
        files: plugins that are single files; they are loaded whatever is allowed.

    Attributes:
        files: plugins that are single files.
        without: names that were left out.
        candidates: the plugins that can be loaded.
        problems: the plugins that were skipped.
        hooks: the hooks that plugins may implement, with their arguments.
        life_cycle: calls the life-cycle hooks.

    Raises:
        UnknownNameError: if ``without`` contains a name that no plugin and no distribution has.
        PluginError: if a file cannot be loaded.
    """

    def __init__(
        self,
        allowed: frozenset[str] | None = None,
        *,
        without: Collection[str] = (),
        files: Iterable[Path] = (),
    ) -> None:
        self.files, self.without = tuple(files), tuple(without)
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self.hooks = hooks(self._manager, hookspecs)
        self._owners: dict[str, Plugin] = {}
        self._provided: list[Provided] = []
        self._packages: dict[str, Plugin] = {}
        self._used: dict[Plugin, None] = {}
        self.life_cycle = Hooks(self._manager, self._owners, self._skip)
        self.problems: list[Problem] = []
        self.candidates = {candidate.plugin: candidate for candidate in find_candidates()}
        known = {name for plugin in self.candidates for name in (plugin.name, plugin.distribution)}
        for name in self.without:
            if name not in known:
                raise UnknownNameError("plugin", name, known)
        for plugin, candidate in self.candidates.items():
            is_allowed = allowed is None or is_bundled(plugin) or _is_named(plugin, allowed)
            if is_allowed and not _is_named(plugin, without):
                self._load(candidate)
        for path in self.files:
            self._load_file(path)

    @property
    def plugins(self) -> list[Plugin]:
        """The loaded plugins, sorted."""
        return sorted(self._owners.values(), key=lambda plugin: (plugin.distribution, plugin.name))

    @property
    def left_out(self) -> list[Plugin]:
        """The plugins that were not to be loaded."""
        seen = {*self._owners.values(), *(problem.plugin for problem in self.problems)}
        return [plugin for plugin in self.candidates if plugin not in seen]

    def module(self, plugin: Plugin) -> object:
        """The module, or object, of a loaded plugin."""
        return self._manager.get_plugin(_key(plugin))

    def schemas(self) -> dict[str, type[Options]]:
        """The options of plugins that have some of their own, by the plugin's name.

        They are the attribute ``Options`` of a plugin that implements a life-cycle hook: a class, or the path of one,
        ``"module:attribute"``, which is imported here.

        Raises:
            PluginError: if the path leads to no class of options.
        """
        from textgen.options import Options

        with_options = [hook for hook, arguments in self.hooks.items() if "options" in arguments]
        life_cycle = {plugin for hook in with_options for plugin in self.life_cycle.implementers(hook)}
        found: dict[str, type[Options]] = {}
        for plugin in self.plugins:
            schema = getattr(self.module(plugin), "Options", None)
            if schema is None or schema is Options or plugin not in life_cycle:
                continue
            if isinstance(schema, str):
                schema = Provided(kind="options", name=plugin.name, target=schema, summary="", plugin=plugin).load()
            if not (isinstance(schema, type) and issubclass(schema, Options)):
                raise PluginError(f"plugin {plugin}: its Options are not a subclass of textgen.options.Options")
            found[plugin.name] = schema
        return found

    def _load(self, candidate: Candidate) -> None:
        try:
            with contained():
                module = candidate.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too
            self._skip(candidate.plugin, f"cannot be imported: {describe(error)}", error)
        else:
            self.register(module, candidate.plugin)

    def _load_file(self, path: Path) -> None:
        file = find_file(path)
        candidate = self.candidates.setdefault(file.plugin, file)
        self._load(candidate)
        if candidate.plugin not in self.plugins:
            raise PluginError(str(self.problems.pop()))

    def register(self, module: object, plugin: Plugin) -> None:
        """Adds an imported plugin; if it fails, it is skipped as a whole and noted in :attr:`problems`."""
        key = _key(plugin)
        try:
            check_hooks(self._manager, module, self.hooks)
            self._manager.register(module, name=key)
            with contained():
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
        objects = [item.target for item in provided] + [hook.function for hook in self._hooks_of(module)]
        modules = [*targets, *(getattr(each, "__module__", None) or "" for each in objects)]
        for root in {name.partition(".")[0] for name in modules} - {"textgen"}:
            self._packages.setdefault(root, plugin)

    def unregister(self, plugin: Plugin) -> None:
        """Removes a plugin, with its names, hooks and problems."""
        key = _key(plugin)
        self._owners.pop(key, None)
        if self._manager.has_plugin(key):
            self._manager.unregister(name=key)
        self._provided = [item for item in self._provided if item.plugin != plugin]
        self._packages = {root: owner for root, owner in self._packages.items() if owner != plugin}
        self._used.pop(plugin, None)
        self.life_cycle.forget(plugin)
        self.problems = [problem for problem in self.problems if problem.plugin != plugin]

    def _skip(self, plugin: Plugin, reason: str, error: BaseException, file: str | None = None) -> None:
        if is_strict():
            raise error
        candidate = self.candidates.get(plugin)
        place = locate(error) or file or (candidate.place if candidate else "")
        self.problems.append(Problem(plugin, reason, place))

    def provided(self, kind: str) -> list[Provided]:
        """All names of a kind, sorted."""
        return sorted((item for item in self._provided if item.kind == kind), key=lambda item: item.name)

    def find(self, kind: str, name: str) -> Provided:
        """A name and its owner, without importing it.

        Raises:
            UnknownNameError: if no plugin provides the name.
            PluginError: if several plugins do.
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

    @overload
    def get(self, kind: Literal["corpus"], name: str) -> type[Corpus]: ...
    @overload
    def get(self, kind: Literal["tokenizer"], name: str) -> type[Tokenizer]: ...
    @overload
    def get(self, kind: Literal["model"], name: str) -> type[Model]: ...
    @overload
    def get(self, kind: Literal["sampler"], name: str) -> type[Sampler] | type[Selector]: ...
    @overload
    def get(self, kind: Literal["runtime"], name: str) -> type[Runtime]: ...
    @overload
    def get(self, kind: Literal["recipe"], name: str) -> Mapping[str, Mapping[str, Any]]: ...
    @overload
    def get(self, kind: str, name: str) -> Any: ...
    def get(self, kind: str, name: str) -> Any:
        """The object behind a name, imported: a class, the settings of a recipe, or a command.

        Raises:
            UnknownNameError: if no plugin provides the name.
            PluginError: if several plugins do, or the import fails.
        """
        provided = self.find(kind, name)
        self._used[provided.plugin] = None
        return provided.load()

    @overload
    def make(self, kind: Literal["corpus"], settings: Mapping[str, Any], *arguments: Any) -> Corpus: ...
    @overload
    def make(self, kind: Literal["tokenizer"], settings: Mapping[str, Any], *arguments: Any) -> Tokenizer: ...
    @overload
    def make(self, kind: Literal["model"], settings: Mapping[str, Any], *arguments: Any) -> Model: ...
    @overload
    def make(self, kind: str, settings: Mapping[str, Any], *arguments: Any) -> Any: ...
    def make(self, kind: str, settings: Mapping[str, Any], *arguments: Any) -> Any:
        """An instance of the class that a table of settings names.

        Args:
            kind: the kind, such as ``"corpus"``; the name of the table in error messages.
            settings: ``name``, and the values of the class's options.
            *arguments: the arguments of the class besides its options.

        Raises:
            OptionError: if an option is unknown or out of range.
            PluginError: if the class of a third party fails otherwise.
        """
        from textgen.options import build_options  # pydantic is imported when a plugin is used

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
        """A sampler chain, parsed and built from the registered samplers."""
        from textgen.sampling.chain import Chain

        return Chain(text, lambda name: self.get("sampler", name), lambda name: self.outsider("sampler", name))

    def outsider(self, kind: str, name: str) -> str | None:
        """A name with its owner, for errors, if the owner is a third party; ``None`` if it is bundled."""
        provided = self.find(kind, name)
        return None if is_bundled(provided.plugin) else f"the {provided}"

    def _hooks_of(self, module: object) -> list[pluggy.HookImpl]:
        callers: list[pluggy.HookCaller] = [getattr(self._manager.hook, hook) for hook in self.hooks]
        return [each for caller in callers for each in caller.get_hookimpls() if each.plugin is module]

    def culprit(self, error: BaseException) -> tuple[Plugin, str] | None:
        """The plugin of a third party that an error passed through, with the file and line."""
        others = {root: plugin for root, plugin in self._packages.items() if not is_bundled(plugin)}
        return find_culprit(error, others)

    def blame(self, error: BaseException) -> str | None:
        """An unexpected error on one line, with the plugin that caused it, or the plugins that may have.

        Returns:
            ``None`` if no plugin of a third party was involved.
        """
        culprit = self.culprit(error)
        if culprit is not None:
            return f"plugin {culprit[0]} failed: {describe(error)} ({culprit[1]})"
        if isinstance(error, SystemExit) and (place := exit_place(error)):
            return f"code that is not textgen's ended the program: {describe(error)} ({place})"
        if not isinstance(error, Exception):  # typer exits so if its output cannot be written
            return None
        used = [f"plugin {plugin}" for plugin in self._used if not is_bundled(plugin)]
        return f"{describe(error)}, with {' and '.join(used)} in use" if used else None


def is_bundled(plugin: Plugin) -> bool:
    """Whether a plugin is part of textgen itself."""
    return plugin.distribution == DISTRIBUTION


def _is_named(plugin: Plugin, names: Collection[str]) -> bool:
    return plugin.name in names or plugin.distribution in names


def _key(plugin: Plugin) -> str:
    return f"{plugin.distribution}/{plugin.name}"


#: The registry of this process, once it has been asked for.
_registry: Registry | None = None


def plugins() -> Registry:
    """The plugins of this process: those that :func:`use_plugins` loaded, by default all that are installed."""
    return _registry or use_plugins()


def use_plugins(*, files: Iterable[str | PathLike[str]] = (), without: Collection[str] = ()) -> Registry:
    """Loads the plugins of this process, replacing those loaded before; skipped plugins are reported on stderr.

    ``TEXTGEN_PLUGINS`` lists the names of plugins or distributions to load besides the bundled ones; by default, all
    installed plugins are loaded.

    Args:
        files: plugins that are single files.
        without: names of plugins or distributions to leave out, bundled ones too.

    Raises:
        UnknownNameError: if ``without`` contains a name that no plugin and no distribution has.
        PluginError: if a file cannot be loaded.

    Example:
        >>> textgen.use_plugins(files=["mine.py"]).get("sampler", "typical")  # doctest: +SKIP
    """
    global _registry  # noqa: PLW0603 - one per process
    paths = [values.path(file, "files") for file in values.several(files, "files", "a list of paths")]
    names = values.texts(without, "without")
    registry = Registry(allowed_plugins(), files=paths, without=names)
    for problem in registry.problems:
        notice(problem)
    _registry = registry
    return registry
