"""Calls of life-cycle hooks: each plugin gets copies, and a hook that keeps failing is left out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import pluggy

from textgen.base.console import notice
from textgen.base.environment import is_strict
from textgen.errors import PluginError
from textgen.plugins.discovery import Plugin
from textgen.plugins.faults import contained, describe

if TYPE_CHECKING:
    from textgen.options import Options

#: Failures in a row after which a hook is left out.
MOST_FAILURES = 3


def copied(value: Any) -> Any:
    """A copy of an argument of a hook, down to its arrays and mappings: whatever a plugin writes to it is its own."""
    import numpy as np  # every command imports this module

    from textgen.model.state import State
    from textgen.sampling.chain import Chain

    if isinstance(value, np.ndarray | Chain):
        return copy.copy(value)
    if isinstance(value, State):
        return value.copy()
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    if isinstance(value, tuple):
        # Ids are tuples of many numbers, which cannot be written to.
        return value if value and isinstance(value[0], int | str) else tuple(map(copied, value))
    if is_dataclass(value) and not isinstance(value, type):
        made = copy.copy(value)
        for field in fields(value):
            object.__setattr__(made, field.name, copied(getattr(value, field.name)))  # they are frozen
        return made
    return value


@dataclass
class _Calls:
    """The calls of a hook of a plugin.

    Attributes:
        count: all of them.
        failed: those that failed.
        in_a_row: those that failed since the last one that did not.
        fault: what was wrong with the last one that failed.
    """

    count: int = 0
    failed: int = 0
    in_a_row: int = 0
    fault: str = ""


class Failures:
    """Counts the failures of hooks, and reports them: the first one, leaving out, and all of them at the end."""

    def __init__(self) -> None:
        self._calls: dict[tuple[Plugin, str], _Calls] = {}
        self._left_out: set[tuple[Plugin, str]] = set()

    def is_left_out(self, plugin: Plugin, hook: str) -> bool:
        """Whether a hook has failed too often to be called again."""
        return (plugin, hook) in self._left_out

    def succeeded(self, plugin: Plugin, hook: str) -> None:
        """Counts a call that did not fail."""
        calls = self._of(plugin, hook)
        calls.count += 1
        calls.in_a_row = 0

    def failed(self, plugin: Plugin, hook: str, fault: str) -> bool:
        """Counts and reports a call that failed; returns whether the hook is left out from now on."""
        calls = self._of(plugin, hook)
        calls.count += 1
        calls.failed += 1
        calls.in_a_row += 1
        calls.fault = fault
        if calls.in_a_row >= MOST_FAILURES:
            self._left_out.add((plugin, hook))
            notice(f"plugin {plugin}: {hook} {fault}; it failed {MOST_FAILURES} times in a row and is left out")
            return True
        if calls.failed == 1:
            notice(f"plugin {plugin}: {hook} {fault}; it will be called again, and disabled if it keeps failing")
        return False

    def forget(self, plugin: Plugin) -> None:
        """Forgets a plugin that is removed."""
        self._left_out = {key for key in self._left_out if key[0] != plugin}
        self._calls = {key: calls for key, calls in self._calls.items() if key[0] != plugin}

    def report(self) -> None:
        """Reports at the end of a run what failed in it, and begins to count anew."""
        for (plugin, hook), calls in self._calls.items():
            if calls.failed:
                lost = "; later calls were skipped" if self.is_left_out(plugin, hook) else ""
                notice(f"plugin {plugin}: {calls.failed} of {calls.count} calls of {hook} failed: {calls.fault}{lost}")
        self._calls.clear()

    def _of(self, plugin: Plugin, hook: str) -> _Calls:
        return self._calls.setdefault((plugin, hook), _Calls())


class Hooks:
    """Calls the life-cycle hooks of plugins.

    Args:
        manager: has the plugins.
        owners: the plugins by the names that the manager knows them by.
        skip: told of each hook that is left out from now on: its plugin, the reason, and the last error.
    """

    def __init__(
        self,
        manager: pluggy.PluginManager,
        owners: Mapping[str, Plugin],
        skip: Callable[[Plugin, str, BaseException], None],
    ) -> None:
        self._manager = manager
        self._owners = owners
        self._skip = skip
        self._failures = Failures()

    def implementers(self, hook: str) -> list[Plugin]:
        """The plugins that implement a hook, in calling order."""
        return [self._owners[each.plugin_name] for each in self._implementations(hook)]

    def notify(self, hook: str, /, *, options: Mapping[str, Options] | None = None, **arguments: Any) -> None:
        """Calls a life-cycle hook of each plugin, in the order of :meth:`implementers`, with copies.

        A plugin that raises is reported, and left out if it keeps failing; the others are called all the same.

        Args:
            hook: the name of the hook.
            options: the options of the plugins that have any, by the plugin's name.
            **arguments: those of the hook.
        """
        for implementation in self._implementations(hook):
            self._invoke(hook, implementation, arguments, options)

    def transform(
        self,
        hook: str,
        /,
        *,
        check: Callable[[Any], str | None],
        options: Mapping[str, Options] | None = None,
        **arguments: Any,
    ) -> Any:
        """Calls a life-cycle hook that may replace its first argument; each plugin gets the result of the last one.

        Args:
            hook: the name of the hook.
            check: says what is wrong with a result, ``None`` if nothing is.
            options: as for :meth:`notify`.
            **arguments: those of the hook.

        Raises:
            PluginError: if ``check`` finds something wrong; names the plugin.
        """
        name = next(iter(arguments))
        expected = type(arguments[name])
        for implementation in self._implementations(hook):
            result = self._invoke(hook, implementation, arguments, options, expected)
            if result is not None:
                if fault := check(result):
                    raise PluginError(f"plugin {self._owners[implementation.plugin_name]}: {hook} returned {fault}")
                arguments[name] = result
        return arguments[name]

    def report_failures(self) -> None:
        """Reports at the end of a run which of its hooks failed."""
        self._failures.report()

    def forget(self, plugin: Plugin) -> None:
        """Forgets the failures of a plugin that is removed."""
        self._failures.forget(plugin)

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        found = sorted(caller.get_hookimpls(), key=lambda hook: hook.trylast - hook.tryfirst)
        return [each for each in found if not self._failures.is_left_out(self._owners[each.plugin_name], hook)]

    def _invoke(
        self,
        hook: str,
        implementation: pluggy.HookImpl,
        arguments: Mapping[str, Any],
        options: Mapping[str, Options] | None,
        expected: type | None = None,
    ) -> Any:
        """Calls a hook of a plugin; returns its result, or ``None`` if it fails, or returns another type."""
        owner = self._owners[implementation.plugin_name]
        own = {**arguments, "options": (options or {}).get(owner.name)}
        try:
            with contained():
                result = implementation.function(*(copied(own[name]) for name in implementation.argnames))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._fail(hook, implementation, f"raised {describe(error)}", error)
            return None
        if expected is not None and not isinstance(result, expected | None):
            fault = f"returned {type(result).__name__} instead of {expected.__name__}"
            self._fail(hook, implementation, fault, TypeError(fault))
            return None
        self._failures.succeeded(owner, hook)
        return result

    def _fail(self, hook: str, implementation: pluggy.HookImpl, fault: str, error: BaseException) -> None:
        if is_strict():
            raise error
        owner = self._owners[implementation.plugin_name]
        if self._failures.failed(owner, hook, fault):
            self._skip(owner, f"{hook} {fault}; it is left out", error)
