"""The history of a run: one record per epoch, kept as JSON lines and as a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Self

from textgen.errors import ArtifactError
from textgen.model.fitting import Position
from textgen.runs.artifact import Artifact
from textgen.runs.manifest import HISTORY, HISTORY_TABLE


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
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            history.records += [record for record in map(json.loads, lines) if record["step"] <= until.total]
        except (ValueError, KeyError, TypeError):
            raise ArtifactError(
                f"{path} was altered; restore it from a copy, or delete it to resume without it"
            ) from None
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
