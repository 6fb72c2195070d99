"""Calls of life-cycle hooks: each plugin gets copies, and a hook that keeps failing is left out."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from textgen.base.console import notice
from textgen.plugins.discovery import Plugin

#: Failures in a row after which a hook is left out.
MOST_FAILURES = 3


def copied(value: Any) -> Any:
    """A copy of an argument of a hook, down to its arrays and mappings: whatever a plugin writes to it is its own."""
    import numpy as np  # every command imports this module

    from textgen.generation.chain import Chain
    from textgen.model.state import State

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
