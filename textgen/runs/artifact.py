"""The artifact: a run's folder, self-contained, without executable code, and whole at any moment.

``textgen.json`` describes the run and holds size and SHA-256 of every other file. A file that a reader relies on
(``tokenizer.json``, the weights) is never written over while ``textgen.json`` points to it: weights are written under a
new name first, then ``textgen.json`` is replaced in one step. A run killed at any moment leaves a folder that loads.
"""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

from numpy.typing import NDArray
from pydantic import ValidationError

from textgen.base.files import quoted, read_tensors, sha256, write_atomically
from textgen.errors import ArtifactError, UnsupportedModelError
from textgen.model.state import StateSpec
from textgen.runs.manifest import FORMAT_VERSION, MANIFEST, TOKENIZER, WEIGHTS, FileRecord, Manifest
from textgen.text.boundaries import Boundaries


class Artifact:
    """A run's folder, for reading and, by :mod:`textgen.training.train`, for writing.

    Attributes:
        path: the folder.
        manifest: what ``textgen.json`` holds; changes count from :meth:`commit` on.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: Path) -> Artifact:
        """Read a run's folder; files are verified as they are read.

        Raises:
            ArtifactError: where it is no run's folder, or one of a later format.
        """
        file = path / MANIFEST
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise ArtifactError(
                f"{path} is not a run: it has no {MANIFEST}; textgen runs list shows the runs"
            ) from None
        except (OSError, ValueError, RecursionError) as error:
            raise ArtifactError(f"{file} cannot be read: {' '.join(str(error).split())}") from None
        _check_format(file, content)
        try:
            return cls(path, Manifest.model_validate(content))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ArtifactError(f"{file} is not valid: {where}: {first['msg']}") from None

    def commit(self) -> None:
        """Write ``textgen.json``, in one step."""
        write_atomically(self.path / MANIFEST, self.manifest.model_dump_json(indent=1) + "\n")

    def put(self, name: str, content: bytes | str) -> Path:
        """Write a file of the folder, and record it; the record counts from :meth:`commit` on."""
        path = self.path / name
        write_atomically(path, content)
        self.record(name)
        return path

    def record(self, name: str) -> None:
        """Record a file that is in the folder."""
        path = self.path / name
        self.manifest.files[name] = FileRecord(size=path.stat().st_size, sha256=sha256(path))

    def verified(self, name: str) -> Path:
        """The path of a file whose content is what was recorded.

        Raises:
            ArtifactError: where it is unknown, missing, truncated or altered.
        """
        record = self.manifest.files.get(name)
        if record is None or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ArtifactError(f"{self.path / MANIFEST} does not list {name}")
        path = self.path / name
        if not path.is_file():
            raise ArtifactError(f"{path} is missing; restore it from a copy, or train again")
        size = path.stat().st_size
        if size != record.size:
            raise ArtifactError(f"{path} has {size} bytes, recorded are {record.size}: it was truncated or altered")
        if sha256(path) != record.sha256:
            raise ArtifactError(f"{path} was altered: its SHA-256 is not the one recorded in {MANIFEST}")
        return path

    def verify(self) -> None:
        """Check the recorded files; raises as :meth:`verified` does.

        Of a run under way only those that a reader relies on: logs and plots are a moment ahead of their records.
        """
        manifest = self.manifest
        relied_on = [name for name in (TOKENIZER, manifest.weights, manifest.last_checkpoint) if name is not None]
        for name in relied_on if manifest.status == "training" else manifest.files:
            self.verified(name)

    def tokenizer_json(self) -> dict[str, Any]:
        """The tokenizer's vocabulary, verified."""
        path = self.verified(TOKENIZER)
        try:
            vocabulary = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            vocabulary = None
        if not isinstance(vocabulary, dict):
            raise ArtifactError(f"{path} is not a vocabulary; restore it from a copy, or train again")
        return vocabulary

    def weights(self) -> dict[str, NDArray[Any]]:
        """The weights by name, verified: the best ones, of a run under way those of its best checkpoint.

        Raises:
            ArtifactError: where they are missing or altered, or the run has none yet.
        """
        if self.manifest.export is not None:
            raise UnsupportedModelError(f"{self.path} is an export and has no weights to load; use --runtime onnx")
        if self.manifest.weights is None:
            raise ArtifactError(
                f"{self.path} has no weights yet: it stopped before its first checkpoint; "
                f"go on with: textgen train --resume {quoted(self.path)}"
            )
        tensors, _ = read_tensors(self._verified_weights(self.manifest.weights))
        prefix = "weights/"
        if self.manifest.weights == WEIGHTS:
            return tensors
        return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}

    def _verified_weights(self, name: str) -> Path:
        """The file of the weights; a process that trains may have put others in its place by now."""
        try:
            return self.verified(name)
        except ArtifactError:
            now = Artifact.open(self.path).manifest
            if self.manifest.status != "training" or now.weights in (None, name):
                raise
        self.manifest = now
        return self.verified(str(now.weights))

    @property
    def weights_sha256(self) -> str | None:
        """The SHA-256 of the file that holds the weights, or that they were exported from."""
        if self.manifest.export is not None:
            return str(self.manifest.export.get("weights_sha256"))
        record = self.manifest.files.get(self.manifest.weights or "")
        return record.sha256 if record else None

    @property
    def boundaries(self) -> Boundaries:
        """How the model's texts begin and end."""
        return Boundaries(self.manifest.end_id, self.manifest.starts)

    @property
    def state_spec(self) -> StateSpec:
        """The tensors of the model's state."""
        return StateSpec.from_json(self.manifest.state_spec)


def _check_format(file: Path, content: Any) -> None:
    if not isinstance(content, dict) or content.get("format") != "textgen":
        raise ArtifactError(f"{file} does not describe a textgen run")
    found = content.get("format_version")
    if not isinstance(found, int):
        raise ArtifactError(f"{file} has no format_version")
    if found > FORMAT_VERSION:
        raise ArtifactError(
            f"{file} has format {found}, this textgen reads up to {FORMAT_VERSION}: install a later textgen-rnn"
        )
