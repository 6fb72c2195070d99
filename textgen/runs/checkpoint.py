"""Checkpoints: one file each, written completely before ``textgen.json`` points to it."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from textgen.errors import ArtifactError
from textgen.files.reading import parse_json, read_tensors
from textgen.model.fitting import Checkpoint, Position, Tensors
from textgen.runs.artifact import Artifact
from textgen.runs.folder import checkpoint_files
from textgen.runs.manifest import CHECKPOINTS, Count
from textgen.runs.manifest import WEIGHTS as FINAL_WEIGHTS

#: Prefixes of tensor names: the weights, and whatever else the model needs to resume training.
WEIGHTS, TRAINING = "weights/", "training/"


class _Position(BaseModel):
    """The position of a checkpoint."""

    model_config = ConfigDict(extra="forbid", strict=True)
    epoch: Count
    step: Count
    total: Count


class _About(BaseModel):
    """The metadata of a checkpoint."""

    model_config = ConfigDict(extra="forbid", strict=True)
    position: _Position
    numbers: dict[str, Any]
    shared: dict[str, str] = {}


def save_checkpoint(artifact: Artifact, weights: Tensors, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint and makes it the last one in the manifest, which ``artifact.commit()`` writes.

    A tensor of the checkpoint that equals one of the weights is stored once; ``shared`` in the metadata names it.

    Args:
        artifact: the run.
        weights: by name, as :meth:`textgen.model.model.Model.weights` returns them.
        checkpoint: everything else.

    Returns:
        The path of the file.
    """
    tensors = {WEIGHTS + name: np.ascontiguousarray(array) for name, array in weights.items()}
    stored = {_content(array): name for name, array in tensors.items()}
    shared = {}
    for name, array in checkpoint.tensors.items():
        # ascontiguousarray makes 0-d arrays 1-d, and optimizers have 0-d arrays
        whole = np.ascontiguousarray(array).reshape(np.shape(array))
        if (same := stored.get(_content(whole))) is not None:
            shared[name] = same
        else:
            tensors[TRAINING + name] = whole
    about = {"position": vars(checkpoint.position), "numbers": dict(checkpoint.numbers), "shared": shared}
    name = f"{CHECKPOINTS}/step-{checkpoint.position.total:08d}.safetensors"
    path = artifact.put(name, safetensors.numpy.save(tensors, metadata={"checkpoint": json.dumps(about)}))
    artifact.manifest.last_checkpoint = name
    return path


def read_checkpoint(artifact: Artifact) -> Checkpoint | None:
    """Returns the last checkpoint of a run, verified; ``None`` if it stopped before its first one.

    Raises:
        ArtifactError: if the file is missing or altered.
    """
    name = artifact.manifest.last_checkpoint
    if name is None:
        return None
    arrays, metadata = read_tensors(artifact.verified(name))
    try:
        about = _About.model_validate(parse_json(metadata["checkpoint"]))
        shared = {key: arrays[same] for key, same in about.shared.items()}
    except (KeyError, ValueError):  # pydantic's, too
        raise ArtifactError(
            f"{artifact.path / name} is not a textgen checkpoint; restore it from a copy, or train again"
        ) from None
    tensors = {key.removeprefix(TRAINING): array for key, array in arrays.items() if key.startswith(TRAINING)}
    return Checkpoint(Position(**about.position.model_dump()), shared | tensors, about.numbers)


def _content(array: NDArray[Any]) -> tuple[object, ...]:
    """A key that equal arrays have in common."""
    return array.shape, array.dtype.str, hashlib.sha256(array.data).digest()


def drop_old_checkpoints(artifact: Artifact) -> None:
    """Commits, then deletes the weights that ``textgen.json`` no longer points to; the last and the best ones stay.

    Also deletes checkpoints of a killed run that were never recorded. Partially written files are deleted whenever
    another one is written, see :func:`textgen.files.writing.delete_leftovers`.
    """
    manifest, folder = artifact.manifest, artifact.path
    kept = (manifest.weights, manifest.last_checkpoint)
    files = [folder / FINAL_WEIGHTS, *checkpoint_files(folder)]
    old = {file.relative_to(folder).as_posix(): file for file in files}
    for name in kept:
        old.pop(name or "", None)
    for name in old:
        manifest.files.pop(name, None)
    artifact.commit()
    for file in old.values():
        with suppress(OSError):  # Windows does not delete a file that somebody reads
            file.unlink(missing_ok=True)
