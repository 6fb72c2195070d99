"""The files that a path stands for: itself, the matches of a pattern, the files of a folder, or the copy of a pipe."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import select
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from textgen import notice, spool
from textgen.errors import CorpusError
from textgen_corpora.reading import PIECE, is_text

#: The path of standard input.
STDIN = Path("-")

#: Opens a pipe at once, without waiting for something that writes to it.
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)

#: Seconds to wait for something that writes to a pipe.
WRITER_SECONDS = 2

#: The most bytes of a text that comes through a pipe: it may have no end.
MOST_BYTES = 2**32

#: The most files and folders that are looked at for a path: the pattern of a stranger may match any of them.
MOST_ENTRIES = 300_000

#: Folders of the system, whose files are not those of a disk: they are not searched.
_SYSTEM = ("/dev", "/proc", "/sys")

#: Suffixes of the copy of a pipe, by the format that it is read in.
_SUFFIXES = {"csv": ".csv", "tsv": ".tsv", "json": ".json", "jsonl": ".jsonl"}


@dataclass(frozen=True)
class FoundFile:
    """A file, and its name in messages."""

    path: Path
    name: str


def find_files(paths: Iterable[Path], data_dir: Path | None, *, form: str, wide: bool) -> list[FoundFile]:
    """Finds the files that paths stand for, each file once.

    Args:
        paths: files, patterns, folders, pipes, or ``-``.
        data_dir: where a file is looked for by its name if the path does not exist.
        form: the format in which pipes are read; decides the suffix of their copy.
        wide: whether characters are known to have several bytes, so that NUL does not mean that a file is not text.

    Raises:
        CorpusError: if a pattern matches no file, a folder has no text, a name is not UTF-8, or a pipe or device
            cannot be read.
    """
    found: dict[Path, FoundFile] = {}
    for path in paths:
        for file in _find(path, data_dir, form, wide):
            _check_name(file.path.absolute())
            found.setdefault(file.path.absolute(), file)
    return list(found.values())


def _check_name(path: Path) -> None:
    """Checks that a run can record a path: its files are UTF-8."""
    name = os.fsencode(path)
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        shown = name.decode("utf-8", "backslashreplace")
        raise CorpusError(f"{shown} has a name that is not UTF-8; rename it") from None


def is_one_file(path: Path) -> bool:
    """Whether a path can only be that of a single file: it is neither a folder nor a pattern."""
    path = Path(os.path.expanduser(path))
    return not os.path.isdir(path) and (os.path.exists(path) or not glob.has_magic(str(path)))


def is_pipe(path: Path) -> bool:
    """Whether the content of a path can be read only once: ``-``, a pipe or a device, or a file that a shell opened."""
    of_process = str(path) == "/dev/stdin" or path.parts[:3] == ("/", "dev", "fd") or path.parts[:2] == ("/", "proc")
    return (
        path == STDIN or of_process or (os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path))
    )


def _find(given: Path, data_dir: Path | None, form: str, wide: bool) -> Iterator[FoundFile]:
    path = Path(os.path.expanduser(given))
    if is_pipe(path):
        yield _kept(path, _SUFFIXES.get(form, ".txt"))
    elif os.path.isdir(path):
        yield from _in_folder(path, wide)
    elif os.path.exists(path):
        yield FoundFile(path, str(path))
    elif data_dir is not None and os.path.isfile(data_dir / path.name):
        yield FoundFile(data_dir / path.name, str(data_dir / path.name))
    elif glob.has_magic(str(path)):
        yield from _matching(path, wide)
    elif re.fullmatch("[0-9a-f]{64}", path.stem):
        raise CorpusError(f"{path}, the copy of a text that had no file, does not exist; put it back, or train anew")
    else:
        yield FoundFile(path, str(path))  # reading it reports that it does not exist


def _matching(pattern: Path, wide: bool) -> Iterator[FoundFile]:
    found = []
    search = _Search(pattern)
    matches = sorted({*search.matches(pattern.anchor, pattern.relative_to(pattern.anchor).parts)})
    for match in map(Path, matches):
        found += _text_files(match, wide, search) if match.is_dir() else [match]
    if not found:
        raise CorpusError(f"no file matches {pattern}; check the pattern")
    yield from (FoundFile(path, str(path)) for path in found)


def _in_folder(folder: Path, wide: bool) -> Iterator[FoundFile]:
    texts = _text_files(folder, wide, _Search(folder))
    if not texts:
        raise CorpusError(f"the folder {folder} has no text files; check the path")
    yield from (FoundFile(path, str(path)) for path in texts)


class _Search:
    """A search for the files of a path.

    Args:
        given: the path.
    """

    def __init__(self, given: Path) -> None:
        self._given = given
        self._left = MOST_ENTRIES

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        """What is in a folder; nothing if it cannot be read.

        Raises:
            CorpusError: if the search has looked at too much.
        """
        entries = []
        place = os.path.abspath(folder)
        if place not in _SYSTEM:
            with suppress(OSError), os.scandir(folder or ".") as inside:
                for entry in inside:
                    self._left -= 1
                    if self._left < 0:
                        raise CorpusError(
                            f"{self._given} stands for too much: more than {MOST_ENTRIES:,} files and folders would be "
                            "looked at; name the files, or a folder closer to them"
                        )
                    if os.path.join(place, entry.name) not in _SYSTEM:
                        entries.append(entry)
        return entries

    def matches(self, folder: str, parts: Sequence[str]) -> Iterator[str]:
        """The paths in a folder that match a pattern, in the way of :func:`glob.glob`, possibly more than once."""
        if not parts:
            yield folder
            return
        part, rest = parts[0], parts[1:]
        if not glob.has_magic(part):
            path = os.path.join(folder, part)
            if os.path.lexists(path):
                yield from self.matches(path, rest)
            return
        if part == "**":
            yield from self.matches(folder, rest)
        for entry in self._entries(folder):
            path = os.path.join(folder, entry.name)
            if entry.name.startswith(".") and not part.startswith("."):
                continue
            if part == "**":
                if _is_folder(entry):
                    yield from self.matches(path, parts)
                elif not rest:
                    yield path
            elif fnmatch.fnmatch(entry.name, part) and (not rest or _is_folder(entry)):
                yield from self.matches(path, rest)

    def files(self, folder: str) -> Iterator[Path]:
        """The files of a folder and of the folders in it, without hidden ones; links to folders are not followed."""
        folders = [folder]
        for each in folders:
            for entry in self._entries(each):
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry, follow=False):
                    folders.append(entry.path)
                elif os.path.isfile(entry.path):
                    yield Path(entry.path)


def _is_folder(entry: os.DirEntry[str], *, follow: bool = True) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:
        return False


def _text_files(folder: Path, wide: bool, search: _Search) -> list[Path]:
    """The text files of a folder and of the folders in it, sorted by name, without hidden ones."""
    files = sorted(search.files(str(folder)), key=lambda path: path.parts)
    kinds = {path: is_text(path, wide=wide) for path in files}
    if left_out := [path for path in files if not kinds[path]]:
        count = "1 file is" if len(left_out) == 1 else f"{len(left_out):,} files are"
        notice(f"{folder}: {count} left out as not text, such as {left_out[0]}", once=True)
    return [path for path in files if kinds[path]]


def _kept(path: Path, suffix: str) -> FoundFile:
    """Keeps what comes from a pipe, since the text is read more than once, and by later commands."""
    name = "standard input" if path == STDIN else str(path)
    try:
        if path == STDIN:
            if sys.stdin is None:
                raise CorpusError("standard input is closed; name a file or a pipe")
            if sys.stdin.isatty():
                notice("reading the text from the terminal; end it with Ctrl-D on a line of its own")
            return FoundFile(spool(_pieces(sys.stdin.buffer, name), suffix), name)
        with open(path, "rb", opener=_without_waiting) as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and not file.isatty()):
                raise CorpusError(f"{name} is a device; name a file or a pipe")
            first = _await_writer(file, name) if stat.S_ISFIFO(mode) else b""
            if _NONBLOCK:
                os.set_blocking(file.fileno(), True)
            return FoundFile(spool(chain([first] if first else [], _pieces(file, name)), suffix), name)
    except OSError as error:
        raise CorpusError(f"{name} cannot be read: {error.strerror}") from None


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | _NONBLOCK)


def _await_writer(pipe: BinaryIO, name: str) -> bytes:
    """Waits until something writes to a pipe that does not block; returns the first byte, if it was read.

    Raises:
        CorpusError: if nothing does within some seconds.
    """
    waiting = select.poll()
    waiting.register(pipe, select.POLLIN)
    until = time.monotonic() + WRITER_SECONDS
    while not waiting.poll(0):  # there are neither bytes nor an end
        try:
            if first := os.read(pipe.fileno(), 1):
                return first
        except BlockingIOError:  # something has opened it to write
            return b""
        if time.monotonic() > until:
            raise CorpusError(f"{name} is a pipe that nothing writes to; begin to write first, or name a file")
        time.sleep(0.02)
    return b""


def _pieces(file: BinaryIO, name: str) -> Iterator[bytes]:
    size = 0
    while data := file.read(PIECE):
        size += len(data)
        if size > MOST_BYTES:
            raise CorpusError(f"{name} has more than {MOST_BYTES:,} bytes; save it as a file and train on that")
        yield data
