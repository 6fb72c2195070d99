"""Files that a user names, to be written by a command: checked before the work that they are to hold is done."""

from __future__ import annotations

import os
from pathlib import Path

from textgen.errors import ArtifactError, OptionError
from textgen.files.writing import destination, is_special
from textgen.runs.manifest import (
    CHECKPOINTS,
    HISTORY,
    HISTORY_TABLE,
    MANIFEST,
    SAMPLES,
    TOKENIZER,
    WEIGHTS,
    read_manifest,
)

#: Files that belong to a run whether or not it has them yet.
OF_A_RUN = (
    *(MANIFEST, TOKENIZER, WEIGHTS, HISTORY, HISTORY_TABLE, SAMPLES),
    *("plots/training.png", "plots/evaluation.png"),
)

#: Folders of a run that have nothing but files of its own, or that an export replaces as a whole.
FOLDERS_OF_A_RUN = (f"{CHECKPOINTS}/", "tensorboard/", "onnx/")


def check_output(path: Path, option: str) -> None:
    """Checks that a file can be written; an existing one may be replaced, unless a run or an export needs it.

    Links are followed. A device, a pipe or an open file of this process (``/dev/stdout``) is written to.

    Args:
        path: the file.
        option: the option that names it, for messages.

    Raises:
        OptionError: if it is a folder, its folder does not exist, permission is missing, or it belongs to a run.
    """
    choose = f"choose another path for {option}"
    try:
        target = destination(path)
        if isinstance(target, int):
            os.fstat(target)
            return
    except OSError as error:
        raise OptionError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}; {choose}") from None
    named = str(path) if target == path else f"{path} (a link to {target})"
    folder = target.parent
    if target.is_dir():
        raise OptionError(f"{named} cannot be written: it is a folder; {choose}")
    if not folder.is_dir():
        raise OptionError(f"{named} cannot be written: there is no folder {folder}; make it, or {choose}")
    replaced = () if is_special(target) else (folder,)
    if not all(os.access(each, os.W_OK) for each in (*replaced, *([target] if target.exists() else []))):
        raise OptionError(f"{named} cannot be written: permission denied; {choose}")
    owner = _owner(Path(os.path.realpath(folder)) / target.name)
    if owner is not None:
        raise OptionError(f"{named} belongs to {owner} and would be destroyed; {choose}")


def _owner(file: Path) -> Path | None:
    """The run that a file belongs to, or the export that it lies in; ``None`` if there is none."""
    for folder in file.parents:
        if (folder / MANIFEST).is_file() and _belongs(file.relative_to(folder).as_posix(), folder):
            return folder
    return None


def _belongs(name: str, folder: Path) -> bool:
    """Whether a run needs a file. An export is replaced as a whole, so that nothing else should be kept in it."""
    try:
        manifest = read_manifest(folder / MANIFEST)
        is_export, recorded = manifest.export is not None, list(manifest.files)
    except ArtifactError:
        is_export, recorded = False, []
    names = {each.casefold() for each in (*OF_A_RUN, *recorded)}  # some file systems do not tell cases apart
    return is_export or name.casefold() in names or name.casefold().startswith(FOLDERS_OF_A_RUN)
