"""The files that a path stands for: itself, the matches of a pattern, the files of a folder, or the copy of a pipe."""

from __future__ import annotations

import glob
import os
import re
import select
import stat
import sys
import time
from collections.abc import Iterable, Iterator
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
    for match in map(Path, sorted(glob.glob(str(pattern), recursive=True))):
        found += _text_files(match, wide) if match.is_dir() else [match]
    if not found:
        raise CorpusError(f"no file matches {pattern}; check the pattern")
    yield from (FoundFile(path, str(path)) for path in found)


def _in_folder(folder: Path, wide: bool) -> Iterator[FoundFile]:
    texts = _text_files(folder, wide)
    if not texts:
        raise CorpusError(f"the folder {folder} has no text files; check the path")
    yield from (FoundFile(path, str(path)) for path in texts)


def _text_files(folder: Path, wide: bool) -> list[Path]:
    """The text files of a folder and of the folders in it, sorted by name, without hidden ones."""
    inside = [path for path in folder.rglob("*") if os.path.isfile(path)]
    shown = [path for path in inside if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    files = sorted(shown, key=lambda path: path.parts)
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
