"""The manifest ``textgen.json``, and the names of the other files in a run's folder."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from textgen.errors import ArtifactError, shortened
from textgen.files.reading import read_json
from textgen.options import PLUGINS, TABLES, Settings, first_problem

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


#: The most bytes of ``textgen.json``; a vocabulary of 100,000 ids takes some MB of it.
LIMIT = 2**26

#: The most ids of a vocabulary: they are int32.
MOST_IDS = 2**31 - 1

#: The most numbers in the state of a row.
MOST_NUMBERS = 2**28

#: The most characters of the name of a corpus, tokenizer or model.
LONGEST_NAME = 200

#: A whole number as JSON's keys have it.
_WHOLE = re.compile("0|[1-9][0-9]{0,9}")

Count = Annotated[int, Field(ge=0, le=2**53)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=10_000)]
TableT = TypeVar("TableT", bound=BaseModel)
Number = Annotated[float, Field(allow_inf_nan=False)]


def _relative(name: str) -> str:
    """A path within the folder, as ``files`` has it."""
    parts = name.split("/")
    if not name or any(part in ("", ".", "..") for part in parts) or "\\" in name or "\0" in name or ":" in parts[0]:
        raise ValueError(f"{shortened(name)} is not a path within the folder")
    return name


FileName = Annotated[str, Field(max_length=1000), AfterValidator(_relative)]


def _with_whole_keys(counts: Any) -> Any:
    """Ids as numbers: JSON has them as text."""
    if not isinstance(counts, dict):
        return counts
    return {int(key) if isinstance(key, str) and _WHOLE.fullmatch(key) else key: n for key, n in counts.items()}


class _Strict(BaseModel):
    """A table of ``textgen.json``: no value is converted, and no unknown field is taken."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)


class _Open(BaseModel):
    """A table to which plugins and exporters may add fields of their own."""

    model_config = ConfigDict(extra="allow", strict=True, defer_build=True)


class FileRecord(_Strict):
    """Size in bytes and SHA-256 of a file."""

    size: int = Field(ge=0, le=2**53)
    sha256: Sha256


class _Tensor(_Strict):
    """A tensor of the state."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    shape: list[Annotated[int, Field(ge=0, le=MOST_NUMBERS)]] = Field(max_length=8)
    dtype: Annotated[str, Field(pattern=r"^(float(16|32|64)|u?int(8|16|32|64)|bool)$")]
    initial: Number

    @model_validator(mode="after")
    def _starts_with_a_value_of_its_type(self) -> Self:
        if not self.dtype.startswith("float") and not -128 <= self.initial <= 127:
            raise ValueError("initial is not a value of the dtype")
        if not self.dtype.startswith(("float", "int")) and self.initial < 0:
            raise ValueError("initial is not a value of the dtype")
        return self


class _Base(_Strict):
    """An entry of ``lineage``."""

    run: Text
    weights_sha256: Sha256
    corpus: Text
    text_sha256: Sha256 | None = None
    settings: dict[str, dict[str, Any]] = {}


class _Refit(_Strict):
    """The entry ``refit``."""

    run: Text
    weights_sha256: Sha256
    epoch: Count
    held_out_loss: Number


class _Change(_Strict):
    """An entry of ``changes``."""

    step: Count
    settings: dict[str, dict[str, Any]]


class _Source(_Strict):
    """A file of the corpus."""

    file: Text
    addresses: list[Text] | tuple[Text, ...] = []
    sha256: Sha256 | None = None


class _Provenance(_Open):
    """The entry ``provenance``."""

    sources: list[_Source] | tuple[_Source, ...] = []
    licence: Text = ""
    homepage: Text | None = None
    layout: Literal["stream", "documents"] | None = None
    multiline: bool | None = None
    text_sha256: Sha256 | None = None


class _Export(_Open):
    """The entry ``export``, which exporters may extend."""

    format: Text | None = None
    weights_sha256: Sha256 | None = None
    parameters: dict[str, Number] | None = None
    parity: dict[str, Number | Text] | None = None

    @field_validator("parity")
    @classmethod
    def _has_figures(cls, parity: dict[str, Any] | None) -> dict[str, Any] | None:
        if any(isinstance(value, str) for name, value in (parity or {}).items() if name != "text"):
            raise ValueError("a figure is not a number")
        return parity


class Manifest(_Strict):
    """The content of ``textgen.json``.

    Attributes:
        format: always ``"textgen"``.
        format_version: the version of this format; later versions of textgen read those of earlier ones.
        created: the time at which the run began, in UTC.
        status: how far the run has come.
        vocab_size: the number of ids.
        state_spec: the tensors of the state.
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
        refit: the run whose options and best epoch this one has, which is trained on all text: ``run``,
            ``weights_sha256``, and of these weights ``epoch`` and ``held_out_loss``; ``None`` for any other run.
        changes: the training options that were changed when the run was resumed: ``step`` and ``settings`` of each.
        metrics: the metrics of the weights, such as ``held_out_loss`` in nats per character.
        export: the exporter's description of the folder's graphs; ``None`` for a run. Its ``format``, if any, is the
            name of the runtime that loads them.
        weights: the file of the weights; ``None`` before the first checkpoint.
        last_checkpoint: the file to resume from.
        files: the records of all other files, by path within the folder.
    """

    format: Literal["textgen"] = "textgen"
    format_version: int = Field(default=FORMAT_VERSION, ge=1)
    created: Annotated[str, Field(max_length=100)] = Field(
        default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds")
    )
    status: Status = "training"
    versions: dict[str, Text] = {}
    providers: dict[str, Text] = {}
    transforms: list[Text] = []
    settings: Settings
    provenance: dict[str, Any] = {}
    vocab_size: int = Field(ge=1, le=MOST_IDS)
    state_spec: list[dict[str, Any]] = Field(max_length=1000)
    end_id: int | None = Field(None, ge=0)
    first_ids: Annotated[dict[int, Count], BeforeValidator(_with_whole_keys)] = {}
    starts: dict[Annotated[str, Field(min_length=1, max_length=1)], Count] = {}
    labels: list[Text] = []
    normalization: Literal["NFC"] | None = None
    lineage: list[dict[str, Any]] = []
    refit: dict[str, Any] | None = None
    changes: list[dict[str, Any]] = []
    metrics: dict[str, Number] = {}
    export: dict[str, Any] | None = None
    weights: FileName | None = None
    last_checkpoint: FileName | None = None
    files: dict[FileName, FileRecord] = {}

    @field_validator("settings")
    @classmethod
    def _names_its_parts(cls, settings: Settings) -> Settings:
        for part in ("corpus", "tokenizer", "model"):
            name = settings.get(part, {}).get("name")
            if not isinstance(name, str) or len(name) > LONGEST_NAME:
                raise ValueError(f"{part} has no name")
        if settings.keys() - {PLUGINS} != {*TABLES}:
            raise ValueError(f"it does not have the tables {', '.join(TABLES)} and no other")
        # Runs kept duplicates before there was this option.
        return settings | {"training": {"drop_duplicates": False, **settings["training"]}}

    @field_validator("state_spec")
    @classmethod
    def _describes_tensors(cls, tensors: list[dict[str, Any]]) -> list[dict[str, Any]]:
        described = [_checked(_Tensor, each) for each in tensors]
        if len({tensor.name for tensor in described}) < len(described):
            raise ValueError("a name occurs twice")
        if sum(prod(tensor.shape) for tensor in described) > MOST_NUMBERS:
            raise ValueError(f"a state has more than {MOST_NUMBERS:,} numbers")
        return tensors

    @field_validator("lineage")
    @classmethod
    def _describes_runs(cls, lineage: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for each in lineage:
            _checked(_Base, each)
        return lineage

    @field_validator("refit")
    @classmethod
    def _describes_a_run(cls, refit: dict[str, Any] | None) -> dict[str, Any] | None:
        if refit is not None:
            _checked(_Refit, refit)
        return refit

    @field_validator("changes")
    @classmethod
    def _describes_changes(cls, changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for each in changes:
            _checked(_Change, each)
        return changes

    @field_validator("provenance")
    @classmethod
    def _describes_a_text(cls, provenance: dict[str, Any]) -> dict[str, Any]:
        _checked(_Provenance, provenance)
        return provenance

    @field_validator("export")
    @classmethod
    def _describes_an_export(cls, export: dict[str, Any] | None) -> dict[str, Any] | None:
        if export is not None:
            _checked(_Export, export)
        return export

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        ids = [*self.first_ids, *([] if self.end_id is None else [self.end_id])]
        if any(not 0 <= i < self.vocab_size for i in ids):
            raise ValueError(f"first_ids or end_id has an id that is not below vocab_size, which is {self.vocab_size}")
        if len(set(self.labels)) < len(self.labels) or len(self.labels) >= self.vocab_size:
            raise ValueError("labels has a label twice, or as many as there are ids")
        if sum(self.first_ids.values()) > 2**53 or sum(self.starts.values()) > 2**53:
            raise ValueError("the counts of first_ids or starts are too large")
        if any(counts and not any(counts.values()) for counts in (self.first_ids, self.starts)):
            raise ValueError("the counts of first_ids or starts are all 0")
        return self


def _checked(schema: type[TableT], table: dict[str, Any]) -> TableT:
    """A table, validated; it stays a table, so that its fields are written as they are."""
    try:
        return schema.model_validate(table)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from None


def read_manifest(file: Path) -> Manifest:
    """Reads ``textgen.json``.

    Raises:
        ArtifactError: if the file is missing or damaged, or has a later format.
    """
    try:
        content = read_json(file, LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        what = f"is not a run: it has no {file.name}" if file.parent.exists() else "does not exist"
        raise ArtifactError(f"{file.parent} {what}; textgen runs list shows the runs") from None
    _check_format(file, content)
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise ArtifactError(f"{file} is not valid: {first_problem(error)}; restore it from a copy") from None


def _check_format(file: Path, content: Any) -> None:
    if not isinstance(content, dict) or content.get("format") != "textgen":
        raise ArtifactError(f"{file} does not describe a textgen run")
    found = content.get("format_version")
    if type(found) is not int:
        raise ArtifactError(f"{file} has no format_version")
    if found > FORMAT_VERSION:
        raise ArtifactError(
            f"{file} has format {found}, but this textgen reads formats up to {FORMAT_VERSION}: "
            "install a later textgen-rnn"
        )
