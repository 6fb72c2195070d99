"""The artifact: the folder of a run or of an export, its files verified as they are read.

A file that readers rely on (``tokenizer.json``, the weights) is never overwritten while ``textgen.json`` points to it:
new weights are written under a new name, then ``textgen.json`` is replaced atomically. So a run that is killed at any
moment leaves a folder that loads. See docs/artifact.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

from numpy.typing import NDArray

from textgen.errors import ArtifactError, UnsupportedModelError
from textgen.files.reading import LARGEST, read_json, read_tensors
from textgen.files.writing import bring_back, inside, quoted, sha256, write_atomically
from textgen.model.state import StateSpec
from textgen.runs.manifest import FORMAT_VERSION, MANIFEST, TOKENIZER, WEIGHTS, FileRecord, Manifest, read_manifest

Read = TypeVar("Read")

#: Attempts to read files of one manifest while a process that trains the run replaces them.
ATTEMPTS = 50
#: What of a folder may run; see :class:`Artifact`.
Trust = Literal["weights", "graph"]


class Artifact:
    """The folder of a run or of an export: its manifest, its files and their records.

    Attributes:
        path: the folder.
        manifest: the content of ``textgen.json``; changes are written by :meth:`commit`.
        trust: what in the folder may run. ``"weights"``: nothing; data are read, and graphs are built from them or
            checked. ``"graph"``: the graphs in it, too, whatever they are.
    """

    def __init__(self, path: Path, manifest: Manifest, trust: Trust = "weights") -> None:
        self.path = path
        self.manifest = manifest
        self.trust = trust
        self._kept: dict[str, NDArray[Any]] | None = None

    @classmethod
    def open(cls, path: Path, trust: Trust = "weights") -> Artifact:
        """Opens a folder; its files are verified when they are read.

        Args:
            path: the folder.
            trust: what in it may run.

        Raises:
            ArtifactError: if the folder does not hold a run, or one of a later format.
        """
        if not path.exists():
            bring_back(path)
        return cls(path, read_manifest(path / MANIFEST), trust)

    def commit(self) -> None:
        """Writes ``textgen.json``, atomically, in the present format; errors as for :meth:`put`."""
        self.manifest.format_version = FORMAT_VERSION
        content = self.manifest.model_dump_json(indent=1) + "\n"
        write_atomically(inside(self.path, MANIFEST), content, follow=False)

    def put(self, name: str, content: bytes | str) -> Path:
        """Writes a file of the folder and records it; :meth:`commit` writes the record. Returns the file's path.

        Raises:
            ArtifactError: if a link in the folder leads out of it, or the path is a device, a pipe or a socket.
        """
        path = inside(self.path, name)
        write_atomically(path, content, follow=False)
        self.record(name)
        return path

    def record(self, name: str) -> None:
        """Records size and SHA-256 of a file in the folder; :meth:`commit` writes the record."""
        path = self.path / name
        self.manifest.files[name] = FileRecord(size=path.stat().st_size, sha256=sha256(path))

    def verified(self, name: str) -> Path:
        """Returns the path of a file, after checking its content against the record.

        Raises:
            ArtifactError: if the file is not recorded, or is missing, truncated or altered.
        """
        path, record = self._checked_size(name)
        if sha256(path) != record.sha256:
            raise ArtifactError(f"{path} was altered: its SHA-256 is not the one recorded in {MANIFEST}")
        return path

    def _checked_size(self, name: str) -> tuple[Path, FileRecord]:
        record = self.manifest.files.get(name)
        if record is None or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ArtifactError(f"{self.path / MANIFEST} does not list {name}")
        path = self.path / name
        if not path.is_file():
            instead = "is not a regular file: the file " if os.path.lexists(path) else ""
            raise ArtifactError(f"{path} {instead}is missing; restore it from a copy, or train again")
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise ArtifactError(f"{path} is a link that leaves the folder; replace it by the file that it names")
        size = path.stat().st_size
        if size != record.size:
            raise ArtifactError(
                f"{path} has {size} bytes instead of the recorded {record.size}: it was truncated or altered"
            )
        return path, record

    def _of_one_manifest(self, read: Callable[[], Read]) -> Read:
        """Reads files of one manifest.

        If that fails because a process that trains the run has replaced them in the meantime, reads the manifest anew,
        and starts again from that.
        """
        for _ in range(ATTEMPTS):
            try:
                return read()
            except (ArtifactError, OSError):
                now = read_manifest(self.path / MANIFEST)
                if now == self.manifest:
                    raise
            self.manifest = now
        return read()

    def verify(self) -> None:
        """Checks every recorded file as :meth:`verified` does.

        While a run is training, checks only the files that readers rely on: its logs are ahead of their records.
        """
        self._of_one_manifest(self._verify)

    def _verify(self) -> None:
        manifest = self.manifest
        with_weights = (TOKENIZER, manifest.weights) if manifest.weights is not None else ()
        relied_on = [name for name in (*with_weights, manifest.last_checkpoint) if name is not None]
        for name in relied_on if manifest.status == "training" else manifest.files:
            self.verified(name)

    def tokenizer_json(self) -> dict[str, Any]:
        """Returns the tokenizer's vocabulary, verified.

        Raises:
            ArtifactError: if the file is missing or altered, or does not hold a vocabulary.
        """
        path = self.verified(TOKENIZER)
        try:
            vocabulary = read_json(path)
        except ArtifactError as error:
            raise ArtifactError(f"{error}; the vocabulary has to be restored from a copy, or trained again") from None
        if not isinstance(vocabulary, dict):
            raise ArtifactError(f"{path} is not a vocabulary; restore it from a copy, or train again")
        return vocabulary

    def weights(self) -> dict[str, NDArray[Any]]:
        """Returns the best weights so far, by name, verified.

        While a process trains the run, they are those of one checkpoint, and :attr:`manifest` is the one that has it.

        Raises:
            ArtifactError: if the weights are missing or altered, or the run has none yet.
            UnsupportedModelError: if the folder is an export.
        """
        if self._kept is not None:
            return self._kept
        return self._of_one_manifest(self._read_weights)

    def keep_weights(self) -> None:
        """Reads the weights and keeps them in memory, so that all later readers of this object get the same.

        Raises:
            ArtifactError: as :meth:`weights`.
            UnsupportedModelError: as :meth:`weights`.
        """
        self._kept = self.weights()

    def check_weights(self) -> None:
        """Checks that there are weights, or an export, by the manifest and the size of the file alone.

        Raises:
            ArtifactError: if there are none yet, or the file is missing or truncated.
        """
        if self.manifest.export is None:
            self._of_one_manifest(lambda: self._checked_size(self._name_of_weights()))

    def _name_of_weights(self) -> str:
        if self.manifest.weights is None:
            raise ArtifactError(
                f"{self.path} has no weights yet: it stopped before its first checkpoint; "
                f"resume it with: textgen train --resume {quoted(self.path)}"
            )
        return self.manifest.weights

    def _read_weights(self) -> dict[str, NDArray[Any]]:
        if (export := self.manifest.export) is not None:
            advice = "use the run that was exported"
            if "format" in export:
                advice += f", or write text with: textgen sample {quoted(self.path)} --runtime {export['format']}"
            raise UnsupportedModelError(f"{self.path} is an export and has no weights to load; {advice}")
        name, prefix = self._name_of_weights(), "weights/"
        tensors, _ = read_tensors(self.verified(name), largest=LARGEST)
        if name == WEIGHTS:
            return tensors
        return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}

    @property
    def weights_sha256(self) -> str | None:
        """The SHA-256 of the file of the weights; for an export, of the file that was exported."""
        if self.manifest.export is not None:
            return str(self.manifest.export.get("weights_sha256"))
        record = self.manifest.files.get(self.manifest.weights or "")
        return record.sha256 if record else None

    @property
    def state_spec(self) -> StateSpec:
        """The tensors of the model's state."""
        return StateSpec.from_json(self.manifest.state_spec)
