"""The history of a run: one record per epoch, kept as JSON lines and as a table."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, TypeAdapter

from textgen.errors import ArtifactError
from textgen.files.reading import JSON_LIMIT, parse_json, read_bytes
from textgen.model.fitting import Position
from textgen.runs.artifact import Artifact
from textgen.runs.manifest import HISTORY, HISTORY_TABLE, Number


def _check(record: dict[str, float]) -> dict[str, float]:
    """A record whose ``epoch`` and ``step`` are whole numbers."""
    for name in ("epoch", "step"):
        if not (isinstance(record.get(name), int) and 0 <= record[name] <= 2**53):
            raise ValueError(f"{name} is not a whole number")
    return record


#: A record; whole numbers stay what they are.
_RECORD = TypeAdapter(Annotated[dict[str, int | Number], AfterValidator(_check)], config=ConfigDict(strict=True))


class History:
    """The metrics of each epoch.

    Attributes:
        records: one per epoch; each has ``epoch``, ``step`` and the metrics that the model reported.
    """

    def __init__(self) -> None:
        self.records: list[Mapping[str, float]] = []

    @classmethod
    def read(cls, artifact: Artifact, until: Position) -> Self:
        """Reads the records of a run up to a position; later ones are of batches that will be trained again.

        Raises:
            ArtifactError: if the file was altered.
        """
        history, path = cls(), artifact.path / HISTORY
        if not os.path.lexists(path):
            return history
        try:
            lines = read_bytes(path, JSON_LIMIT).decode("utf-8").splitlines()
            records = [_RECORD.validate_python(parse_json(line)) for line in lines]
        except OSError as error:
            raise ArtifactError(f"{path} cannot be read: {error.strerror}; restore it from a copy") from None
        except ValueError:  # pydantic's, too
            raise ArtifactError(
                f"{path} was altered; restore it from a copy, or delete it to resume without it"
            ) from None
        history.records += [record for record in records if record["step"] <= until.total]
        return history

    def write(self, artifact: Artifact) -> None:
        """Writes both files and records them; ``artifact.commit()`` writes the records."""
        artifact.put(HISTORY, "".join(json.dumps(record) + "\n" for record in self.records))
        table = io.StringIO()
        columns = dict.fromkeys(name for record in self.records for name in record)
        writer = csv.DictWriter(table, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.records)
        artifact.put(HISTORY_TABLE, table.getvalue())
