"""What a run records of the plugins that it was made with, and what follows where they are no longer the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from textgen.base.machine import distribution_version
from textgen.errors import ArtifactError, PluginError, UnknownNameError
from textgen.generation.chain import read_links
from textgen.options import Settings
from textgen.plugins.discovery import DISTRIBUTION, Plugin, is_file
from textgen.plugins.registry import Registry
from textgen.runs.artifact import Artifact
from textgen.runs.manifest import Manifest

#: The hook that takes part in what a run is made of; all others look on.
TRANSFORM = "textgen_transform_batch"


def record_plugins(manifest: Manifest, plugins: Registry, recipe: str | None = None) -> None:
    """Write down which distribution brings what the settings name, and its version.

    Args:
        manifest: of a new run; ``providers``, ``transforms`` and ``versions`` are set.
        plugins: that the run is made with.
        recipe: that its settings come from.
    """
    what = [*_parts(manifest.settings), *([f"recipe {recipe}"] if recipe else [])]
    owners = {key: plugins.find(*_look_up(key, manifest.settings)).plugin for key in what}
    transforms = plugins.implementers(TRANSFORM)
    versions = {owner.distribution: owner.version for owner in (*owners.values(), *transforms)}
    manifest.providers = {key: owner.distribution for key, owner in owners.items()}
    manifest.transforms = sorted({owner.distribution for owner in transforms})
    manifest.versions = dict(sorted({DISTRIBUTION: distribution_version(DISTRIBUTION), **versions}.items()))


def _parts(settings: Settings) -> list[str]:
    links = read_links(settings["generation"]["sampler"])
    return ["corpus", "tokenizer", "model", *dict.fromkeys(f"sampler {link.name}" for link in links)]


def _look_up(key: str, settings: Settings) -> tuple[str, str]:
    """Kind and name of a key of ``providers``: ``"model"`` or ``"sampler top-k"``."""
    kind, _, name = key.partition(" ")
    return kind, name or settings.get(kind, {}).get("name", "")


def tell_changes(artifact: Artifact, plugins: Registry) -> None:
    """Say once, on stderr, which plugins of third parties are not those that a run was made with.

    One that is missing is told where it is needed: see :func:`needing`.
    """
    manifest = artifact.manifest
    owners: list[tuple[str, Plugin]] = []
    for key, distribution in manifest.providers.items():
        try:
            owners.append((distribution, plugins.find(*_look_up(key, manifest.settings)).plugin))
        except PluginError:
            continue
    owners += [(name, plugin) for name in manifest.transforms for plugin in plugins.plugins if _brings(plugin, name)]
    for distribution, owner in owners:
        version = manifest.versions.get(distribution, "unknown")
        same = _brings(owner, distribution) and owner.version == version
        if not same and not distribution == owner.distribution == DISTRIBUTION:
            before, now = Plugin("", distribution, version).origin, owner.origin
            if before == now:
                before, now = f"another content of {before}", "as it is now"
            plugins.tell_once(f"{artifact.path} was made with {before}; this is {now}")


@contextmanager
def needing(artifact: Artifact, plugins: Registry) -> Iterator[None]:
    """Turns the failed look-up of a name that a run was made with into what to do about it.

    Raises:
        ArtifactError: naming the distribution to install, or the file to give.
    """
    try:
        yield
    except UnknownNameError as error:
        manifest = artifact.manifest
        for key, distribution in manifest.providers.items():
            if (error.kind, error.name) == _look_up(key, manifest.settings):
                made_with = f"the {error.kind} {error.name!r} of "
                raise ArtifactError(_advise(artifact, plugins, made_with, distribution)) from None
        raise


def check_transforms(artifact: Artifact, plugins: Registry) -> None:
    """Check that the plugins that changed a run's batches are there to change the rest of them.

    Raises:
        ArtifactError: where one is not.
    """
    present = plugins.implementers(TRANSFORM)
    for distribution in artifact.manifest.transforms:
        if not any(_brings(plugin, distribution) for plugin in present):
            raise ArtifactError(_advise(artifact, plugins, "batches changed by ", distribution))


def _brings(plugin: Plugin, distribution: str) -> bool:
    """Whether a plugin is of a recorded distribution; a file is the same wherever it lies."""
    if plugin.is_file and is_file(distribution):
        return PurePosixPath(plugin.distribution).name == PurePosixPath(distribution).name
    return plugin.distribution == distribution


def _advise(artifact: Artifact, plugins: Registry, made_with: str, distribution: str) -> str:
    version = artifact.manifest.versions.get(distribution, "unknown")
    origin = Plugin("", distribution, version).origin
    skipped = [problem.reason for problem in plugins.problems if _brings(problem.plugin, distribution)]
    loaded = [plugin.origin for plugin in plugins.plugins if _brings(plugin, distribution)]
    install = f'pip install "{distribution}=={version}"'
    if skipped:
        state = f"which was skipped, as it {skipped[0]}"
    elif any(_brings(plugin, distribution) for plugin in plugins.left_out):
        state = "which TEXTGEN_PLUGINS or --no-plugin leaves out; let it in"
    elif is_file(distribution):
        state = f"which {'has it no longer' if loaded else f'is not loaded: add --plugin {distribution}'}"
    elif loaded:
        state = f"and {loaded[0]} has it no longer: {install}"
    else:
        state = f"which is not loaded: {install}"
    return f"{artifact.path} was made with {made_with}{origin}, {state}"
