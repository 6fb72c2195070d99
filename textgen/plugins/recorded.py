"""The plugins that a run was made with: recorded with it, and compared with those that are loaded."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

from textgen.base.console import notice
from textgen.base.machine import distribution_version
from textgen.errors import ArtifactError, OptionError, PluginError, UnknownNameError
from textgen.options import Options, Settings, read_options
from textgen.plugins.discovery import DISTRIBUTION, Plugin, is_file
from textgen.plugins.registry import Registry
from textgen.runs.artifact import Artifact
from textgen.runs.manifest import MANIFEST, Manifest
from textgen.sampling.chain import Chain, read_links
from textgen.text.labels import LabelledTokenizer
from textgen.text.tokenizer import Tokenizer

#: The only hook that changes what a run is made of; all others observe.
TRANSFORM = "textgen_transform_batch"

#: A distribution with its version, as it may be pasted into a command.
REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.+!_-]*")


def record_plugins(manifest: Manifest, registry: Registry, recipe: str | None = None) -> None:
    """Records the distribution that provides each part of a run, and its version.

    Args:
        manifest: of a new run; ``providers``, ``transforms`` and ``versions`` are set.
        registry: the plugins that the run is made with.
        recipe: the recipe of its settings, if there is one.
    """
    keys = [*_parts(manifest.settings), *([f"recipe {recipe}"] if recipe else [])]
    owners = {key: registry.find(*_look_up(key, manifest.settings)).plugin for key in keys}
    transforms = registry.life_cycle.implementers(TRANSFORM)
    versions = {owner.distribution: owner.version for owner in (*owners.values(), *transforms)}
    manifest.providers = {key: owner.distribution for key, owner in owners.items()}
    manifest.transforms = sorted({owner.distribution for owner in transforms})
    manifest.versions = dict(sorted({DISTRIBUTION: distribution_version(DISTRIBUTION), **versions}.items()))


def with_chain(manifest: Manifest, registry: Registry, chain: Chain) -> Manifest:
    """A manifest like that of a run, but of another sampler chain to generate with.

    Args:
        manifest: of the run.
        registry: the plugins that the chain was made with.
        chain: the chain.
    """
    owners = {f"sampler {name}": registry.find("sampler", name).plugin for name in dict.fromkeys(chain.names)}
    others = {key: owner for key, owner in manifest.providers.items() if not key.startswith("sampler ")}
    changes = {
        "settings": {**manifest.settings, "generation": {**manifest.settings["generation"], "sampler": str(chain)}},
        "providers": others | {key: owner.distribution for key, owner in owners.items()},
        "versions": manifest.versions | {owner.distribution: owner.version for owner in owners.values()},
    }
    return manifest.model_copy(update=changes)


def _parts(settings: Settings) -> list[str]:
    links = read_links(settings["generation"]["sampler"])
    return ["corpus", "tokenizer", "model", *dict.fromkeys(f"sampler {link.name}" for link in links)]


def _look_up(key: str, settings: Settings) -> tuple[str, str]:
    """The kind and name of a key of ``providers``: ``"model"`` or ``"sampler top-k"``."""
    kind, _, name = key.partition(" ")
    return kind, name or settings.get(kind, {}).get("name", "")


def report_changes(artifact: Artifact, registry: Registry) -> None:
    """Reports once, on stderr, which plugins of third parties have changed since a run was made.

    A missing plugin is reported when it is needed: see :func:`needing`.
    """
    manifest = artifact.manifest
    owners: list[tuple[str, Plugin]] = []
    for key, distribution in manifest.providers.items():
        try:
            owners.append((distribution, registry.find(*_look_up(key, manifest.settings)).plugin))
        except PluginError:
            continue
    owners += [(name, plugin) for name in manifest.transforms for plugin in registry.plugins if _provides(plugin, name)]
    for distribution, owner in owners:
        version = manifest.versions.get(distribution, "unknown")
        same = _provides(owner, distribution) and owner.version == version
        if not same and not distribution == owner.distribution == DISTRIBUTION:
            before, now = Plugin("", distribution, version).origin, owner.origin
            if before == now:
                change = f"a different version of the file {before}, which has changed since"
            else:
                change = f"{before}; this is {now}"
            notice(f"{artifact.path} was made with {change}", once=True)


@contextmanager
def needing(artifact: Artifact, registry: Registry) -> Iterator[None]:
    """Turns the failed look-up of a name that a run was made with into advice.

    Raises:
        ArtifactError: if such a look-up fails; names the distribution to install, or the file to give.
    """
    try:
        yield
    except UnknownNameError as error:
        manifest = artifact.manifest
        for key, distribution in manifest.providers.items():
            if (error.kind, error.name) == _look_up(key, manifest.settings):
                made_with = f"the {error.kind} {error.name!r} of "
                raise ArtifactError(_advise(artifact, registry, made_with, distribution)) from None
        raise


def recorded_part(artifact: Artifact, registry: Registry, kind: str, *arguments: Any) -> Any:
    """Make a part of a run from its recorded options.

    Args:
        artifact: the run.
        registry: where the part is looked up.
        kind: ``"corpus"``, ``"tokenizer"`` or ``"model"``.
        *arguments: the arguments of its class besides the options.

    Raises:
        ArtifactError: if its plugin is not installed, an option has another type than it is recorded with or is out of
            range, or the options ask for more memory than there is.
    """
    settings = artifact.manifest.settings[kind]
    with needing(artifact, registry):
        schema = registry.get(kind, settings["name"]).Options
        check_recorded(artifact, schema, {name: each for name, each in settings.items() if name != "name"}, kind)
        try:
            return registry.make(kind, settings, *arguments)
        except MemoryError:
            raise ArtifactError(
                f"{artifact.path / MANIFEST}: settings.{kind} needs more memory than there is; restore it from a copy"
            ) from None


def check_recorded(artifact: Artifact, schema: type[Options], values: Mapping[str, Any], table: str) -> None:
    """Check options that a run has recorded, none of which is converted.

    Raises:
        ArtifactError: if one is unknown, of another type, or out of range.
    """
    try:
        read_options(schema, values, where=table)
    except OptionError as error:
        raise ArtifactError(f"{artifact.path / MANIFEST}: settings: {error}; restore it from a copy") from None


def recorded_tokenizer(artifact: Artifact, registry: Registry) -> Tokenizer:
    """The fitted tokenizer of a run, with its labels.

    Args:
        artifact: the run.
        registry: where the tokenizer is looked up.

    Raises:
        ArtifactError: if its plugin is not installed, its file was altered, or it does not fit the model.
    """
    manifest = artifact.manifest
    tokenizer: Tokenizer = recorded_part(artifact, registry, "tokenizer")
    tokenizer.load_json(artifact.tokenizer_json())
    if manifest.labels:
        tokenizer = LabelledTokenizer(tokenizer, manifest.labels)
    if tokenizer.vocab_size != manifest.vocab_size:
        raise ArtifactError(
            f"{artifact.path}: the tokenizer has {tokenizer.vocab_size} ids, the model {manifest.vocab_size}"
        )
    return tokenizer


def check_transforms(artifact: Artifact, registry: Registry) -> None:
    """Checks that the plugins that changed the batches of a run are loaded.

    Raises:
        ArtifactError: if one is not.
    """
    present = registry.life_cycle.implementers(TRANSFORM)
    for distribution in artifact.manifest.transforms:
        if not any(_provides(plugin, distribution) for plugin in present):
            raise ArtifactError(_advise(artifact, registry, "batches changed by ", distribution))


def _provides(plugin: Plugin, distribution: str) -> bool:
    """Whether a plugin is from a recorded distribution; files are compared by name, whatever their folder."""
    if plugin.is_file and is_file(distribution):
        return PurePosixPath(plugin.distribution).name == PurePosixPath(distribution).name
    return plugin.distribution == distribution


def _advise(artifact: Artifact, registry: Registry, made_with: str, distribution: str) -> str:
    version = artifact.manifest.versions.get(distribution, "unknown")
    origin = Plugin("", distribution, version).origin
    skipped = [problem.reason for problem in registry.problems if _provides(problem.plugin, distribution)]
    loaded = [plugin.origin for plugin in registry.plugins if _provides(plugin, distribution)]
    requirement = f"{distribution}=={version}"
    # The manifest may be a stranger's: what it says must not become a command of another kind.
    install = f'pip install "{requirement}"' if REQUIREMENT.fullmatch(requirement) else "install it"
    if skipped:
        state = f"which was skipped, as it {skipped[0]}"
    elif any(_provides(plugin, distribution) for plugin in registry.left_out):
        state = "which is disabled by TEXTGEN_PLUGINS or --no-plugin; enable it"
    elif is_file(distribution):
        again = f"is not loaded: add --plugin {shlex.quote(distribution)}"
        state = f"which {'no longer provides it' if loaded else again}"
    elif loaded:
        state = f"and {loaded[0]} no longer provides it: {install}"
    else:
        state = f"which is not loaded: {install}"
    return f"{artifact.path} was made with {made_with}{origin}, {state}"
