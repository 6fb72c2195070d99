"""Plugins for the time of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from textgen.errors import PluginError
from textgen.plugins.discovery import Plugin
from textgen.plugins.registry import Registry, plugins


@contextmanager
def registered(plugin: object, *, name: str = "temporary", distribution: str = "testing") -> Iterator[Registry]:
    """Add a plugin to those of this process, and take it away afterwards.

    Args:
        plugin: a module, or any object, with functions marked by :data:`textgen.hookimpl`.
        name: of its entry point.
        distribution: that brought it.

    Yields:
        The plugins of this process, the new one among them.

    Raises:
        PluginError: where it cannot be registered; a plugin that is found by its entry point would be skipped.

    Example:
        >>> from textgen.testing import counting
        >>> with registered(counting) as plugins:
        ...     plugins.find("model", "counting").plugin.distribution
        'testing'
    """
    found, owner = plugins(), Plugin(name, distribution, "0")
    found.register(plugin, owner)
    if owner not in found.plugins:
        raise PluginError(str(found.problems.pop()))
    try:
        yield found
    finally:
        found.unregister(owner)
