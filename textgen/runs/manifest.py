"""The artifact: a run's folder, self-contained, without executable code, and whole at any moment.

``textgen.json`` describes the run and holds size and SHA-256 of every other file. A file that a reader relies on
(``tokenizer.json``, the weights) is never written over while ``textgen.json`` points to it: weights are written under a
new name first, then ``textgen.json`` is replaced in one step. A run killed at any moment leaves a folder that loads.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from textgen.model.state import StateSpec
from textgen.options import Settings

MANIFEST = "textgen.json"
TOKENIZER = "tokenizer.json"
WEIGHTS = "weights.safetensors"
HISTORY = "history.jsonl"
HISTORY_TABLE = "history.csv"
SAMPLES = "samples.txt"
CHECKPOINTS = "checkpoints"

#: Of the folder's format; a reader refuses later ones.
FORMAT_VERSION = 1

#: ``training``: under way, or killed. ``interrupted``: stopped on request. Both go on with ``textgen train --resume``.
Status = Literal["training", "interrupted", "finished"]


class FileRecord(BaseModel):
    """Size in bytes and SHA-256 of a file."""

    model_config = ConfigDict(extra="forbid")
    size: int
    sha256: str


class Manifest(BaseModel):
    """The content of ``textgen.json``.

    Attributes:
        versions: of textgen and of the distribution of each plugin used.
        providers: the distribution that brought ``"corpus"``, ``"tokenizer"``, ``"model"``, and each sampler and
            recipe by name, as in ``"sampler top-k"``; a plugin without one is its file, which has a ``/``.
        transforms: distributions whose plugins changed the batches.
        settings: the complete options of corpus, tokenizer, model, training and generation, by table.
        provenance: where the corpus comes from.
        end_id, starts: see :class:`textgen.text.boundaries.Boundaries`.
        metrics: of the weights, such as ``held_out_loss`` in nats a character.
        export: what an exporter says of the folder's graphs; ``None`` for a run.
        weights: the file that holds the weights; ``None`` before the first checkpoint.
        last_checkpoint: the file to resume from.
        files: every other file, by path below the folder.
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
    starts: dict[str, int] = {}
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
