"""The history of a run, a record an epoch, in its folder as JSON lines and as a table."""

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
    """What each epoch came to.

    Attributes:
        records: by epoch; each has ``epoch``, ``step`` and what the model reported.
    """

    def __init__(self) -> None:
        self.records: list[Mapping[str, float]] = []

    @classmethod
    def read(cls, artifact: Artifact, until: Position) -> Self:
        """The records of a run up to a position; those of lost batches are left out.

        Raises:
            ArtifactError: where the file was altered.
        """
        history, path = cls(), artifact.path / HISTORY
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            history.records += [record for record in map(json.loads, lines) if record["step"] <= until.total]
        except (ValueError, KeyError, TypeError):
            raise ArtifactError(f"{path} was altered; restore it from a copy, or delete it to go on without") from None
        return history

    def write(self, artifact: Artifact) -> None:
        """Write both files; their records count from ``artifact.commit()`` on."""
        artifact.put(HISTORY, "".join(json.dumps(record) + "\n" for record in self.records))
        table = io.StringIO()
        columns = dict.fromkeys(name for record in self.records for name in record)
        writer = csv.DictWriter(table, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.records)
        artifact.put(HISTORY_TABLE, table.getvalue())
