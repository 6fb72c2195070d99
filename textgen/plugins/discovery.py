"""Finding plugins: the entry points of installed distributions, and single files."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from textgen.errors import PluginError

GROUP = "textgen"
DISTRIBUTION = "textgen-rnn"


@dataclass(frozen=True)
class Plugin:
    """A plugin: its name and its origin.

    Attributes:
        name: of the entry point; for a file, its name without ``.py``.
        distribution: in lower case, words joined by hyphens; for a file, its path, which always contains a ``/``.
        version: of the distribution; for a file, the beginning of its SHA-256.
    """

    name: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return self.origin if self.is_file else f"{self.name} of {self.origin}"

    @property
    def origin(self) -> str:
        """The distribution with its version, or the file."""
        return self.distribution if self.is_file else f"{self.distribution} {self.version}"

    @property
    def is_file(self) -> bool:
        """Whether the plugin is a single file, without a distribution."""
        return is_file(self.distribution)


def is_file(distribution: str) -> bool:
    """Whether :attr:`Plugin.distribution` is the path of a file: names of distributions contain no ``/``."""
    return "/" in distribution


@dataclass(frozen=True)
class Candidate:
    """A plugin that can be loaded.

    Attributes:
        plugin: its name and its origin.
        value: the target of its entry point, ``"module"`` or ``"module:attribute"``, or the path of a file.
        place: the folder with the metadata of the distribution, or the file.
        load: imports it; raises whatever the import raises.
    """

    plugin: Plugin
    value: str
    place: str
    load: Callable[[], object]


def find_candidates() -> list[Candidate]:
    """The installed plugins, sorted, without importing them."""
    candidates = [candidate for folder in _metadata_folders() for candidate in _read_entry_points(folder)]
    candidates += [candidate for place in filter(os.path.isfile, sys.path) for candidate in _read_archive(place)]
    return sorted(candidates, key=lambda candidate: (candidate.plugin.distribution, candidate.plugin.name))


def _metadata_folders() -> Iterator[Path]:
    """The metadata folder of each installed distribution; the first one on the path counts.

    ``importlib.metadata`` looks at them, too. They are read here because every command waits for it: importing that
    module and asking it takes longer than all else that textgen does to start, and a single unreadable file hides all
    distributions from it.
    """
    seen = set()
    for place in sys.path:
        try:
            names = os.listdir(place or ".")
        except OSError:
            continue
        for name in names:
            stem, kind = os.path.splitext(name)
            distribution = _normalized(stem.partition("-")[0])
            if kind in (".dist-info", ".egg-info") and distribution not in seen:
                seen.add(distribution)
                yield Path(place, name)


def _read_archive(path: str) -> Iterator[Candidate]:
    """The plugins of the distributions in a wheel or another zip file on the path."""
    from importlib.metadata import distributions

    for distribution in distributions(path=[path]):
        for entry in distribution.entry_points.select(group=GROUP):
            plugin = Plugin(entry.name, _normalized(distribution.name), distribution.version)
            value = entry.value.partition("[")[0].strip()
            yield Candidate(plugin, value, path, partial(import_object, value))


def _read_entry_points(folder: Path) -> Iterator[Candidate]:
    try:
        content = Path(folder, "entry_points.txt").read_bytes()
    except OSError:
        return
    if f"[{GROUP}]".encode() not in content:
        return
    name, version = _identity(folder)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        yield Candidate(Plugin(name, name, version), "", str(folder), partial(content.decode, "utf-8"))
        return
    group = ""
    for line in map(str.strip, text.splitlines()):
        entry, equals, value = line.partition("=")
        if line.startswith("["):
            group = line.strip("[]")
        elif group == GROUP and equals and not line.startswith("#"):
            value = value.partition("[")[0].strip()  # without extras
            plugin = Plugin(entry.strip(), name, version)
            yield Candidate(plugin, value, str(folder), partial(import_object, value))


def _identity(folder: Path) -> tuple[str, str]:
    """The name and version of a distribution, as far as they can be read."""
    fields: dict[str, str] = {}
    for file in ("METADATA", "PKG-INFO"):
        try:
            lines = Path(folder, file).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            if not line:
                break  # the end of the header
            field, _, value = line.partition(":")
            fields.setdefault(field, value.strip())
    name, _, version = folder.stem.partition("-")
    return _normalized(fields.get("Name") or name), fields.get("Version") or version or "unknown"


def _normalized(distribution: str) -> str:
    return distribution.lower().replace("_", "-")


def import_object(target: str) -> Any:
    """The object at ``"module:attribute"``, or the module at ``"module"``; raises whatever the import raises."""
    module, _, attributes = target.partition(":")
    found = importlib.import_module(module)
    for attribute in attributes.split(".") if attributes else ():
        found = getattr(found, attribute)
    return found


def find_file(path: Path) -> Candidate:
    """The plugin in a single file.

    Raises:
        PluginError: if the file does not exist, or its name cannot be that of a module.
    """
    import hashlib

    if not path.is_file():
        raise PluginError(f"the plugin {path} {'is a folder' if path.is_dir() else 'does not exist'}; check the path")
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise PluginError(f"the plugin {path} cannot be a module: name the file with letters, digits and _, then .py")
    shown, digest = path.as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()
    plugin = Plugin(path.stem, shown if is_file(shown) else f"./{shown}", f"sha256:{digest[:12]}")
    return Candidate(plugin, str(path), str(path), partial(import_file, path))


def import_file(path: Path) -> object:
    """Imports a file as the module named after it, so that targets such as ``"mine:Typical"`` find it.

    Raises:
        PluginError: if another module has that name.
    """
    import importlib.util

    name = path.stem
    taken = importlib.util.find_spec(name)
    if taken is not None and taken.origin is not None and Path(taken.origin).resolve() != path.resolve():
        raise PluginError(f"there is already a module {name}, {taken.origin}; rename the file")
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None  # a file that ends in .py has a loader
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
