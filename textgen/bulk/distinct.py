"""A set of digests that does not grow in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Self

from textgen.errors import UnavailableError

#: Memory of the set, in kilobytes; what does not fit is in a temporary file.
MEMORY = 2**16

#: Digests that are looked up at once; SQLite allows 32,766 in a statement.
AT_ONCE = 1024


class Distinct:
    """Digests that were seen, in a B-tree of SQLite that spills to a temporary file, which ends with the process.

    Example:
        >>> with Distinct() as seen:
        ...     seen.add([b"1", b"2", b"1"]), seen.add([b"2", b"3"]), seen.known([b"1", b"4"])
        ([True, True, False], [False, True], [True, False])
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        for setting in (f"cache_size = -{MEMORY}", "journal_mode = OFF", "synchronous = OFF"):
            self._database.execute(f"PRAGMA {setting}")
        self._database.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._database.close()

    def known(self, digests: Sequence[bytes]) -> list[bool]:
        """Whether each digest is in the set.

        Raises:
            UnavailableError: if the temporary file cannot be written or read.
        """
        found = self._find(digests)
        return [digest in found for digest in digests]

    def add(self, digests: Sequence[bytes]) -> list[bool]:
        """Add digests; returns whether each was new, the first of equal ones.

        Raises:
            UnavailableError: as :meth:`known`.
        """
        seen, fresh = self._find(digests), []
        for digest in digests:
            fresh.append(digest not in seen)
            seen.add(digest)
        new = sorted(digest for digest, is_new in zip(digests, fresh, strict=True) if is_new)  # neighbours share pages
        try:
            self._database.executemany("INSERT INTO seen VALUES (?)", ((digest,) for digest in new))
        except sqlite3.OperationalError as error:
            raise _explained(error) from None
        return fresh

    def _find(self, digests: Sequence[bytes]) -> set[bytes]:
        """Those of some digests that are in the set."""
        found: set[bytes] = set()
        for start in range(0, len(digests), AT_ONCE):
            some = digests[start : start + AT_ONCE]
            query = f"SELECT digest FROM seen WHERE digest IN ({','.join('?' * len(some))})"
            try:
                found.update(digest for (digest,) in self._database.execute(query, some))
            except sqlite3.OperationalError as error:
                raise _explained(error) from None
        return found


def _explained(error: sqlite3.OperationalError) -> UnavailableError:
    return UnavailableError(
        f"the set of texts cannot be kept in a temporary file: {error}; free some space, or set SQLITE_TMPDIR to a "
        "folder with more, then run the same command again"
    )
