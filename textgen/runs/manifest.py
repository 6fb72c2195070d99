"""The manifest ``textgen.json``, and the names of the other files in a run's folder."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from textgen.errors import ArtifactError
from textgen.model.state import StateSpec
from textgen.options import Settings

MANIFEST = "textgen.json"
TOKENIZER = "tokenizer.json"
WEIGHTS = "weights.safetensors"
HISTORY = "history.jsonl"
HISTORY_TABLE = "history.csv"
SAMPLES = "samples.txt"
CHECKPOINTS = "checkpoints"

#: The version of the folder's format; a reader rejects later versions.
FORMAT_VERSION = 2

#: ``training``: in progress, or killed. ``interrupted``: stopped on request. ``textgen train --resume`` resumes both.
Status = Literal["training", "interrupted", "finished"]


class FileRecord(BaseModel):
    """Size in bytes and SHA-256 of a file."""

    model_config = ConfigDict(extra="forbid")
    size: int
    sha256: str


class Manifest(BaseModel):
    """The content of ``textgen.json``.

    Attributes:
        versions: the versions of textgen and of the distribution of each plugin used, by distribution.
        providers: the distribution that provided ``"corpus"``, ``"tokenizer"``, ``"model"``, and each sampler and
            recipe by name, as in ``"sampler top-k"``; for a plugin without a distribution its file, which has a ``/``.
        transforms: the distributions whose plugins changed the batches.
        settings: the complete options of corpus, tokenizer, model, training and generation, by table.
        provenance: the origin of the corpus, and the hash of its encoded text.
        end_id: the id that ends a document, or ``None`` for a stream.
        first_ids: the number of training texts that begin with each id; see
            :class:`textgen.text.boundaries.Boundaries`.
        starts: the same by character, as runs of format 1 have it.
        labels: the labels of the documents, whose ids follow those of the tokenizer.
        normalization: the Unicode normal form of the corpus, to which prompts are converted; ``None`` for none.
        lineage: the runs whose weights this one began with, the latest first: ``run``, ``weights_sha256``, ``corpus``,
            ``text_sha256`` and ``settings`` of each.
        changes: the training options that were changed when the run was resumed: ``step`` and ``settings`` of each.
        metrics: the metrics of the weights, such as ``held_out_loss`` in nats per character.
        export: the exporter's description of the folder's graphs; ``None`` for a run. Its ``format``, if any, is the
            name of the runtime that loads them.
        weights: the file of the weights; ``None`` before the first checkpoint.
        last_checkpoint: the file to resume from.
        files: the records of all other files, by path within the folder.
    """

    model_config = ConfigDict(extra="forbid")
    format: Literal["textgen"] = "textgen"
    format_version: int = Field(default=FORMAT_VERSION, ge=1)
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    status: Status = "training"
    versions: dict[str, str] = {}
    providers: dict[str, str] = {}
    transforms: list[str] = []
    settings: Settings
    provenance: dict[str, Any] = {}
    vocab_size: int
    state_spec: list[dict[str, Any]]
    end_id: int | None = None
    first_ids: dict[int, int] = {}
    starts: dict[str, int] = {}
    labels: list[str] = []
    normalization: Literal["NFC"] | None = None
    lineage: list[dict[str, Any]] = []
    changes: list[dict[str, Any]] = []
    metrics: dict[str, float] = {}
    export: dict[str, Any] | None = None
    weights: str | None = None
    last_checkpoint: str | None = None
    files: dict[str, FileRecord] = {}

    @field_validator("settings")
    @classmethod
    def _names_its_parts(cls, settings: Settings) -> Settings:
        for part in ("corpus", "tokenizer", "model"):
            if not isinstance(settings.get(part, {}).get("name"), str):
                raise ValueError(f"{part} has no name")
        return settings

    @field_validator("state_spec")
    @classmethod
    def _describes_tensors(cls, tensors: list[dict[str, Any]]) -> list[dict[str, Any]]:
        try:
            StateSpec.from_json(tensors)
        except (KeyError, TypeError):
            raise ValueError("not a list of tensors") from None
        return tensors


def read_manifest(file: Path) -> Manifest:
    """Reads ``textgen.json``.

    Raises:
        ArtifactError: if the file is missing or damaged, or has a later format.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ArtifactError(
            f"{file.parent} is not a run: it has no {file.name}; textgen runs list shows the runs"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{file} cannot be read: {' '.join(str(error).split())}") from None
    _check_format(file, content)
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ArtifactError(f"{file} is not valid: {where}: {first['msg']}") from None


def _check_format(file: Path, content: Any) -> None:
    if not isinstance(content, dict) or content.get("format") != "textgen":
        raise ArtifactError(f"{file} does not describe a textgen run")
    found = content.get("format_version")
    if not isinstance(found, int):
        raise ArtifactError(f"{file} has no format_version")
    if found > FORMAT_VERSION:
        raise ArtifactError(
            f"{file} has format {found}, but this textgen reads formats up to {FORMAT_VERSION}: "
            "install a later textgen-rnn"
        )
