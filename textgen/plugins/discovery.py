"""Where plugins come from: the entry points of installed distributions, and single files."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from pathlib import Path

from textgen.errors import PluginError

GROUP = "textgen"
DISTRIBUTION = "textgen-rnn"


@dataclass(frozen=True)
class Plugin:
    """A plugin: its name, and what brought it.

    Attributes:
        name: of the entry point; of a file its name without ``.py``.
        distribution: lower case, words joined by hyphens; of a file its path, which always has a ``/``.
        version: of the distribution; of a file the beginning of its SHA-256.
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
        """Whether it is a single file, without a distribution."""
        return is_file(self.distribution)


def is_file(distribution: str) -> bool:
    """Whether :attr:`Plugin.distribution` is the path of a file: the name of a distribution has no ``/``."""
    return "/" in distribution


@dataclass(frozen=True)
class Candidate:
    """A plugin that can be loaded.

    Attributes:
        plugin: what it is.
        value: what it is loaded from: ``"module"`` or ``"module:attribute"``, or the path of a file.
        place: where that is said: the distribution's files, or the file.
        load: imports it; raises what the import raises.
    """

    plugin: Plugin
    value: str
    place: str
    load: Callable[[], object]


def find_candidates() -> list[Candidate]:
    """The plugins that are installed, sorted; none of them is imported yet."""
    try:
        entries = list(entry_points(group=GROUP))
    except Exception:  # one distribution whose files cannot be read hides all others
        candidates = list(_one_by_one())
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # it looks into the same files, and would raise
    else:
        candidates = [_from_entry(entry, entry.dist) for entry in entries if entry.dist is not None]
    return sorted(candidates, key=lambda candidate: (candidate.plugin.distribution, candidate.plugin.name))


def _one_by_one() -> Iterator[Candidate]:
    seen = set()
    for distribution in distributions():
        name, version = _identity(distribution)
        if name not in seen:  # the first on the path counts
            seen.add(name)
            read = partial(getattr, distribution, "entry_points")
            try:
                entries = read()
            except Exception:
                yield Candidate(Plugin(name, name, version), "", _place(distribution), read)
            else:
                yield from (_from_entry(entry, distribution) for entry in entries if entry.group == GROUP)


def _from_entry(entry: EntryPoint, distribution: Distribution) -> Candidate:
    return Candidate(Plugin(entry.name, *_identity(distribution)), entry.value, _place(distribution), entry.load)


def _identity(distribution: Distribution) -> tuple[str, str]:
    """Name and version, whatever of them can be read."""
    try:
        name, version = distribution.name, distribution.version
    except Exception:
        return "unknown", "unknown"
    return (name or "unknown").lower().replace("_", "-"), version or "unknown"


def _place(distribution: Distribution) -> str:
    # The folder dist-info has no public name; where it is installed is the next best.
    return str(getattr(distribution, "_path", None) or distribution.locate_file(""))


def find_file(path: Path) -> Candidate:
    """A plugin that is a single file.

    Raises:
        PluginError: where it is not there, or its name cannot be that of a module.
    """
    import hashlib  # which costs every start of textgen some milliseconds, and few have such a plugin

    if not path.is_file():
        raise PluginError(f"the plugin {path} {'is a folder' if path.is_dir() else 'does not exist'}; check the path")
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise PluginError(f"the plugin {path} cannot be a module: name the file with letters, digits and _, then .py")
    shown, digest = path.as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()
    plugin = Plugin(path.stem, shown if is_file(shown) else f"./{shown}", f"sha256:{digest[:12]}")
    return Candidate(plugin, str(path), str(path), partial(import_file, path))


def import_file(path: Path) -> object:
    """Import a file as the module that it is named after, so that targets such as ``"mine:Typical"`` find it.

    Raises:
        PluginError: where another module has that name.
    """
    name = path.stem
    taken = importlib.util.find_spec(name)
    if taken is not None and taken.origin is not None and Path(taken.origin).resolve() != path.resolve():
        raise PluginError(f"{taken.origin} is a module {name} already; rename the file")
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None  # what ends in .py has a loader
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
