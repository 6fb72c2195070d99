"""A set of digests that does not grow in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Self

from textgen.errors import UnavailableError

#: Memory of the set, in kilobytes; what does not fit is in a temporary file.
MEMORY = 2**16


class Distinct:
    """Digests that were seen, in a B-tree that spills to a temporary file of SQLite, which nobody else sees.

    Example:
        >>> with Distinct() as seen:
        ...     [seen.add(b"1"), seen.add(b"2"), seen.add(b"1")]
        [True, True, False]
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(f"PRAGMA cache_size = -{MEMORY}")
        for setting in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._database.close()

    def add(self, digest: bytes) -> bool:
        """Add a digest; returns whether it is new.

        Raises:
            UnavailableError: if the temporary file cannot be written.
        """
        try:
            return self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount == 1
        except sqlite3.OperationalError as error:
            raise _explained(error) from None

    def update(self, digests: Iterable[bytes]) -> None:
        """Add digests.

        Raises:
            UnavailableError: as :meth:`add`.
        """
        for digest in digests:
            self.add(digest)

    def __contains__(self, digest: bytes) -> bool:
        return self._database.execute("SELECT 1 FROM seen WHERE digest = ?", (digest,)).fetchone() is not None


def _explained(error: sqlite3.OperationalError) -> UnavailableError:
    return UnavailableError(
        f"the set of texts cannot be kept in a temporary file: {error}; free some space, or set SQLITE_TMPDIR to a "
        "folder with more, then run the same command again"
    )
