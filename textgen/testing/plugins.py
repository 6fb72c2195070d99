"""Plugins for the duration of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from textgen.errors import PluginError
from textgen.plugins.discovery import Plugin
from textgen.plugins.registry import Registry, plugins


@contextmanager
def registered(plugin: object, *, name: str = "temporary", distribution: str = "testing") -> Iterator[Registry]:
    """Adds a plugin to those of this process, and removes it at the end.

    Args:
        plugin: a module, or any object, with functions marked by :data:`textgen.hookimpl`.
        name: the name of its entry point.
        distribution: the distribution that it appears to come from.

    Yields:
        The plugins of this process, including the new one.

    Raises:
        PluginError: if it cannot be registered; an installed plugin would be skipped.

    Example:
        >>> from textgen.testing import counting
        >>> with registered(counting) as registry:
        ...     registry.find("model", "counting").plugin.distribution
        'testing'
    """
    registry, owner = plugins(), Plugin(name, distribution, "0")
    registry.register(plugin, owner)
    if owner not in registry.plugins:
        raise PluginError(str(registry.problems.pop()))
    try:
        yield registry
    finally:
        registry.unregister(owner)
