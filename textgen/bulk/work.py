"""What the workers of a job do: a chunk of rows in, written texts out. It goes to other processes and machines."""

from __future__ import annotations

import pickle
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from textgen.errors import ArtifactError, UnavailableError
from textgen.files.writing import write_atomically
from textgen.generation.batching import Batching
from textgen.generation.request import Generation, GenerationOptions, Request
from textgen.generation.runtime import Runtime
from textgen.plugins.registry import plugins, use_plugins
from textgen.runs.artifact import Artifact
from textgen.runs.manifest import MANIFEST, TOKENIZER
from textgen.saved_run import SavedRun


class Generator(Protocol):
    """What a job needs of a :class:`~textgen.TextGenerator`. It is pickled by the folder of its run."""

    run: SavedRun
    artifact: Artifact
    runtime: Runtime
    runtime_name: str
    defaults: GenerationOptions

    @property
    def loader(self) -> Callable[[str], Generator]:
        """Loads the run again, from a folder."""

    @property
    def request(self) -> Callable[..., Request]:
        """Completes options with the run's defaults."""

    def sample(self, request: Request) -> list[Generation]:
        """Write the texts of a request."""

    def batching(self, *, most_rows: int = 512, seconds: float | None = 0.02) -> Batching:
        """Write the texts of many requests at once."""


@dataclass(frozen=True)
class Chunk:
    """Rows of a job that are written together.

    Attributes:
        first: the number of the first row; the others follow.
        size: the number of rows.
        entries: what the input has for each row; ``None`` for rows without input.
    """

    first: int
    size: int
    entries: Sequence[Any] | None = None


@dataclass(frozen=True)
class Written:
    """What came of a chunk.

    Attributes:
        first: the number of its first row.
        size: the number of its rows.
        rows: the numbers of the rows that have a record, ascending.
        records: as the job's format holds them.
        digests: of the text of each record, 16 bytes each; empty unless the job asks for them.
        bad: the numbers of rows that cannot be written, and what is wrong with each.
    """

    first: int
    size: int
    rows: Sequence[int]
    records: Any
    digests: Sequence[bytes] = ()
    bad: Sequence[tuple[int, str]] = field(default=())


class Task(ABC):
    """How a chunk is written, once a run is loaded; can be pickled."""

    @abstractmethod
    def write(self, generator: Generator, chunk: Chunk) -> Written:
        """Write the rows of a chunk: a pure function of the run's weights, the task and the chunk."""


class Work:
    """A loaded run and a task: called with a :class:`Chunk`, it returns a :class:`Written`.

    It is pickled by the folder of the run, for processes of this machine. See :meth:`pack` for other machines.

    Args:
        generator: the run.
        task: for it.
    """

    def __init__(self, generator: Generator, task: Task) -> None:
        self._generator = generator
        self._task = task

    def __call__(self, chunk: Chunk) -> Written:
        """Write a chunk."""
        return self._task.write(self._generator, chunk)

    def __reduce__(self) -> tuple[Any, ...]:
        registry = plugins()
        return _unpickle, (registry.files, registry.without, pickle.dumps((self._generator, self._task)))

    def pack(self) -> PackedWork:
        """The same with the files of the run in it, for machines that do not have its folder.

        Raises:
            ArtifactError: if a file is missing or was altered.
        """
        generator = self._generator
        files = run_files(generator.artifact)
        return PackedWork(generator.loader, generator.defaults, _arithmetic(generator), files, self._task)


@dataclass(frozen=True)
class PackedWork:
    """A :class:`Work` that can be pickled for another machine; the plugins of the run must be installed there."""

    _load: Callable[[str], Generator]
    _defaults: GenerationOptions
    _arithmetic: str
    _files: Mapping[str, bytes]
    _task: Task

    def open(self) -> Work:
        """Load the run on this machine; its files are checked by their recorded SHA-256.

        Raises:
            ArtifactError: if they were altered on their way.
            UnavailableError: if a library is missing here, or the run is computed in another way, which would change
                texts.
        """
        with tempfile.TemporaryDirectory(prefix="textgen-") as name:  # what is loaded stays in memory
            for path, content in self._files.items():
                write_atomically(Path(name, path), content)
            generator = self._load(name)
        if (here := _arithmetic(generator)) != self._arithmetic:
            raise UnavailableError(
                f"a worker computes with {here}, and the job with {self._arithmetic}: its texts would differ; use "
                "--device cpu, or give all machines the same devices"
            )
        generator.defaults = self._defaults
        return Work(generator, self._task)


def _arithmetic(generator: Generator) -> str:
    """What may change the numbers of a run, and so a text where rounding decides."""
    return f"{generator.runtime.precision} on {generator.runtime.device.partition(':')[0]}"


def _unpickle(files: Sequence[Path], without: Sequence[str], pickled: bytes) -> Work:
    if (plugins().files, plugins().without) != (files, without):
        use_plugins(files=files, without=without)
    return Work(*pickle.loads(pickled))


def run_files(artifact: Artifact) -> dict[str, bytes]:
    """The files that loading a run, or an export, reads: their contents by their paths in its folder.

    Raises:
        ArtifactError: if one is missing or was altered.
    """
    manifest = artifact.manifest
    names = [*manifest.files] if manifest.export else [TOKENIZER, manifest.weights]
    found = {MANIFEST: (artifact.path / MANIFEST).read_bytes()}
    found |= {name: artifact.verified(name).read_bytes() for name in names if name is not None}
    if manifest.export is None:
        for inner in sorted(artifact.path.glob(f"*/{MANIFEST}")):  # exports of the run, which may be the fastest
            try:
                export = run_files(Artifact.open(inner.parent, artifact.trust))
            except ArtifactError:
                continue  # the run is loaded without it, as it is here
            found |= {f"{inner.parent.name}/{name}": content for name, content in export.items()}
    return found
