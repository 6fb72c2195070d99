"""The folder of a job: ``job.json``, and parts that are written one after the other, each whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textgen.bulk.formats import Format
from textgen.errors import ArtifactError, OptionError, UnavailableError, shortened
from textgen.files.reading import read_json
from textgen.files.writing import WINDOWS, quoted, try_lock, write_atomically, write_pieces

#: The name of the description of a job.
DESCRIPTION = "job.json"

#: The name of the list of rows that are left out.
SKIPPED = "skipped.jsonl"

#: The number of the layout of folders and of ``job.json``.
VERSION = 1


class JobFolder:
    """The folder of a job.

    Texts that are to be in one file are first written to a folder beside it, ``NAME.job``, as parts; then they are
    joined, and the parts deleted.

    Args:
        out: the file or the folder that is asked for.
        is_file: whether it is a file.
        suffix: of the parts.
    """

    def __init__(self, out: Path, *, is_file: bool, suffix: str) -> None:
        self.out = out
        self.is_file = is_file
        self.path = out.with_name(f"{out.name}.job") if is_file else out
        self._suffix = suffix
        self._noted = 0

    def recorded(self) -> dict[str, Any] | None:
        """What ``job.json`` says; ``None`` if there is none.

        Raises:
            ArtifactError: if it cannot be read, or a later textgen wrote it.
        """
        path = self.path / DESCRIPTION
        try:
            found = read_json(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not isinstance(found, dict) or not isinstance(found.get("job"), dict) or "status" not in found:
            raise ArtifactError(f"{path} does not describe a job; choose another --out")
        if found.get("version") != VERSION:
            raise ArtifactError(f"{path} was written by a later textgen-rnn; use that, or choose another --out")
        return found

    @contextmanager
    def claimed(self, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Claims the folder for a job, which no other process can do meanwhile; makes it if it is missing.

        Args:
            job: what determines its texts, as values of JSON.

        Yields:
            What ``job.json`` says.

        Raises:
            OptionError: if something else is there: another job, or files.
            UnavailableError: if another process writes the job, or the folder cannot be written.
        """
        self._check_place()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = None if WINDOWS else os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise _unwritable(self.path, error) from None
        try:
            if handle is not None and try_lock(handle) is False:
                raise UnavailableError(f"another process writes {self.path}; wait until it has ended")
            recorded = self.recorded()
            if recorded is None:
                recorded = {"status": "running", "job": dict(job)}
                self.record(recorded)
            _check_same(self.path / DESCRIPTION, recorded["job"], job)
            yield recorded
        finally:
            if handle is not None:
                os.close(handle)

    def _check_place(self) -> None:
        """Check that nothing else is in the place of the job."""
        if self.recorded() is not None:
            return
        if self.is_file and self.out.exists():
            raise OptionError(f"{self.out} exists; delete it, or choose another --out")
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise OptionError(f"{self.path} exists and has no {DESCRIPTION}; choose an empty or a new folder")

    def record(self, found: Mapping[str, Any]) -> None:
        """Write ``job.json``."""
        content = json.dumps({"version": VERSION, **found}, indent=1, ensure_ascii=False) + "\n"
        try:
            write_atomically(self.path / DESCRIPTION, content, follow=False)
        except OSError as error:
            raise _unwritable(self.path / DESCRIPTION, error) from None

    def part(self, number: int) -> Path:
        """The path of a part, by its number from 0."""
        return self.path / f"part-{number:05}{self._suffix}"

    def parts(self) -> list[Path]:
        """The parts that are written, from the first to the one before the first that is missing."""
        found: list[Path] = []
        while (path := self.part(len(found))).exists():
            found.append(path)
        return found

    def write_part(self, number: int, content: Iterable[bytes]) -> None:
        """Write a part.

        Raises:
            UnavailableError: if it cannot be written.
        """
        path = self.part(number)
        try:
            write_pieces(self.path, content, lambda: path.name)
        except OSError as error:
            raise _unwritable(path, error) from None

    @property
    def skipped_path(self) -> Path:
        """The path of the list of rows that are left out."""
        return self.path / SKIPPED

    def skipped(self) -> list[tuple[int, str]]:
        """The rows that are left out, with the reason.

        Raises:
            ArtifactError: if their list cannot be read.
        """
        try:
            lines = self.skipped_path.read_bytes().splitlines()
            return [(int(each["row"]), str(each["reason"])) for each in map(json.loads, lines)]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError):
            raise ArtifactError(f"{self.skipped_path} cannot be read; delete {quoted(self.path)}") from None

    def note_skipped(self, skipped: Sequence[tuple[int, str]]) -> None:
        """Write the list of rows that are left out, if it has grown.

        Raises:
            UnavailableError: if it cannot be written.
        """
        if len(skipped) == self._noted:
            return
        lines = [json.dumps({"row": row, "reason": reason}, ensure_ascii=False) + "\n" for row, reason in skipped]
        try:
            write_atomically(self.skipped_path, "".join(lines), follow=False)
        except OSError as error:
            raise _unwritable(self.skipped_path, error) from None
        self._noted = len(skipped)

    def finish(self, found: Mapping[str, Any], form: Format) -> None:
        """Join the parts, if the texts are to be in a file, and record the end of the job.

        Raises:
            UnavailableError: if a file cannot be written.
        """
        parts = self.parts()
        if self.is_file:
            try:
                write_pieces(self.out.parent, form.joined(parts), lambda: self.out.name)
            except OSError as error:
                raise _unwritable(self.out, error) from None
        self.record({**found, "parts": 0 if self.is_file else len(parts)})
        self.delete_joined()

    def delete_joined(self) -> None:
        """Delete the parts of a file that is written."""
        for path in reversed(self.parts()) if self.is_file else ():
            path.unlink()

    def is_whole(self, found: Mapping[str, Any]) -> bool:
        """Whether all files of a job that has ended are there."""
        return self.out.exists() if self.is_file else len(self.parts()) >= found["parts"]


def _check_same(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Check that two jobs are the same."""
    for name in [*here, *there]:
        if there.get(name) != here.get(name):
            what = f"{name} is {shortened(there.get(name))} there, and {shortened(here.get(name))} here"
            raise OptionError(
                f"{path} is of another job: {what}; choose another --out, or delete {quoted(path.parent)}"
            )


def _unwritable(path: Path, error: OSError) -> UnavailableError:
    return UnavailableError(
        f"{path} cannot be written: {error.strerror or error}; free some space or grant access, then run the same "
        "command again: it continues where it stopped"
    )
