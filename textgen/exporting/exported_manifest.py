"""The manifest of an export: what it keeps of the run's, without the folders of the machine that made it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from textgen.runs.manifest import Manifest

#: Fields of the run's manifest that its export keeps.
KEPT = (
    "versions",
    "providers",
    "settings",
    "provenance",
    "lineage",
    "metrics",
    "vocab_size",
    "state_spec",
    "end_id",
    "first_ids",
    "starts",
    "labels",
    "normalization",
)

#: The beginning of a path that names a folder: absolute in POSIX or Windows, a home folder, or a ``file:`` address.
_ROOT = re.compile(r"(file:|~[^/\\]*[/\\]|/[^/]|[A-Za-z]:[/\\]|\\\\)")


def exported_manifest(manifest: Manifest, about: dict[str, Any]) -> Manifest:
    """The manifest of an export.

    Args:
        manifest: of the run.
        about: the entry ``export``.
    """
    kept = {name: getattr(manifest, name) for name in KEPT}
    kept["settings"] = _without_folders(manifest.settings)
    kept["provenance"] = _changed(manifest.provenance, _named)
    kept["lineage"] = [
        {
            **base,
            "run": _name(base["run"]),
            "corpus": _changed(base["corpus"], _named),
            "settings": _without_folders(base["settings"]),
        }
        for base in manifest.lineage
    ]
    if manifest.refit is not None:
        kept["refit"] = {**manifest.refit, "run": _name(manifest.refit["run"])}
    kept["providers"] = {key: _plugin(name) for key, name in manifest.providers.items()}
    kept["versions"] = {_plugin(name): version for name, version in manifest.versions.items()}
    return Manifest(status="finished", export=about, **kept)


def _without_folders(settings: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Options, with the names of files instead of their paths: any path of a corpus, any file that exists elsewhere."""
    cleaned = {table: _changed(values, _named_if_it_exists) for table, values in settings.items()}
    corpus = _changed(settings["corpus"], _named)
    if "path" in corpus:  # a path from the working directory names folders, too
        corpus["path"] = _changed(corpus["path"], _name)
    return cleaned | {"corpus": corpus}


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with all its strings changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _changed(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_changed(inner, change) for inner in value]
    return value


def _name(path: str) -> str:
    """The last part of a path of any system."""
    return PurePosixPath(PureWindowsPath(path).as_posix()).name or path


def _named(text: str) -> str:
    return _name(text) if _ROOT.match(text) and "\n" not in text else text


def _named_if_it_exists(text: str) -> str:
    """Options of other tables may begin like a path and be none, as a prompt may."""
    try:
        return _named(text) if Path(text).expanduser().exists() else text
    except (OSError, RuntimeError, ValueError):
        return text


def _plugin(distribution: str) -> str:
    """The name of a distribution; of the file of a plugin without one the last part, behind a slash that marks it."""
    return f"./{_name(distribution)}" if "/" in distribution or "\\" in distribution else distribution
