"""Whether an export may take the place of what is in a folder."""

from __future__ import annotations

import os
from collections.abc import Set
from pathlib import Path, PurePosixPath

from textgen import Artifact, quoted
from textgen.errors import ArtifactError
from textgen_onnx.contract import CARD, GIT_ATTRIBUTES, GOLDEN, SUMS, TOKENIZER

#: The manifest of an export, the files of any, and what file managers put beside them.
MANIFEST = "textgen.json"
COMMON = frozenset({MANIFEST, TOKENIZER, GOLDEN, CARD, SUMS, GIT_ATTRIBUTES, ".DS_Store", "Thumbs.db", "desktop.ini"})


def check_replaceable(folder: Path, own: Path, mark: str, files: Set[str] = frozenset()) -> None:
    """Checks that a folder has nothing but an export, perhaps a damaged one, or is empty, or does not exist.

    An export has a valid manifest, or at least the files of a manifest and of a graph; in the run's own folder of
    exports, one of the two is enough.

    Args:
        folder: to be replaced.
        own: the run's folder of exports.
        mark: the path of the file by which an export is known.
        files: paths of files that an export may have besides it, :data:`COMMON`, and those in its manifest.

    Raises:
        ArtifactError: otherwise; names what would be lost.
    """
    if not folder.exists():
        return
    if folder.is_dir() and (folder.samefile(".") or folder.is_mount()):
        raise ArtifactError(
            f"{folder} cannot be replaced: it is the working directory, or a mounted one; choose a folder in it, as in "
            f"--out {quoted(folder / own.name)}"
        )
    try:
        manifest = Artifact.open(folder).manifest
        is_export, recorded = manifest.export is not None, manifest.files.keys()
    except ArtifactError:
        marks = [(folder / name).is_file() for name in (MANIFEST, mark)]
        is_own = os.path.realpath(folder) == os.path.realpath(own)
        is_empty = folder.is_dir() and not any(folder.iterdir())
        is_export, recorded = is_empty or (any(marks) if is_own else all(marks)), {}.keys()
    if not is_export or not folder.is_dir():
        raise ArtifactError(
            f"{folder} already exists and is not an export; it will not be overwritten; choose another --out"
        )
    known = COMMON | files | recorded | {mark}
    folders = {str(parent) for name in known for parent in PurePosixPath(name).parents}
    found = {path.relative_to(folder).as_posix(): path.is_file() for path in folder.rglob("*")}
    if others := sorted(name for name, is_file in found.items() if name not in (known if is_file else folders)):
        raise ArtifactError(
            f"{folder} has {others[0]}, which is not of an export and would be lost; move it, or choose another --out"
        )
