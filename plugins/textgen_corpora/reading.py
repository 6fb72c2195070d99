"""Reading text files, with errors that name the mistake and its place."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from textgen.errors import CorpusError
from textgen_corpora.text_files.encodings import MARK_SIZE, guess, is_wide, marked_encoding

#: Bytes to read at a time.
PIECE = 1 << 22

#: The first bytes of files that are not text, and what such a file is.
_NOT_TEXT = {
    b"PK\x03\x04": "a ZIP archive, as .docx, .xlsx, .epub and .zip files are",
    b"%PDF-": "a PDF document",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ\0": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"PAR1": "a Parquet file",
}

#: Bytes by which it is decided whether a file is text.
_HEAD = 8000

#: The command that reads the same text with other options, given by their names.
Command = Callable[..., str]


def read_pieces(
    path: Path,
    encoding: str = "utf-8",
    *,
    name: str | None = None,
    drop_nul: bool = False,
    command: Command | None = None,
) -> Iterator[str]:
    r"""Yields the text of a file in pieces, without a byte-order mark. Lines end with ``\n``, whatever the file has.

    Args:
        path: the file, which may be compressed with gzip.
        encoding: its encoding.
        name: its name in messages, by default its path.
        drop_nul: whether NUL characters are left out; otherwise they are an error.
        command: makes the advice of errors; by default they advise to delete the file, which is downloaded again.

    Raises:
        CorpusError: if the file cannot be read, or is not text in this encoding.
    """
    name = name or str(path)
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    for text in _decoded(path, encoding, name, drop_nul, command):
        if translated := newlines.decode(text):
            yield translated
    if rest := newlines.decode("", final=True):  # a carriage return that ends the file
        yield rest


def _decoded(path: Path, encoding: str, name: str, drop_nul: bool, command: Command | None) -> Iterator[str]:
    head = read_head(path, name, _HEAD)
    _check_is_text(head, name)
    codec = codecs.lookup(encoding).name
    # The codecs utf-16, utf-32 and utf-8-sig leave their mark out. That of UTF-8 is left out in any other encoding.
    start = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) and not _drops_mark(codec) else 0
    decoder = codecs.getincrementaldecoder(encoding)()
    bytes_read, characters = start, int(start > 0)
    for data in read_bytes(path, name, start):
        pending = len(decoder.getstate()[0])  # bytes of a character that the end of the previous piece cut
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeError as error:
            at = f" at byte {bytes_read - pending + error.start}" if isinstance(error, UnicodeDecodeError) else ""
            raise CorpusError(f"{name} is not {encoding} text{at}; {_advice(path, name, command)}") from None
        nul = text.find("\0")
        if nul >= 0 and not drop_nul:
            advice = _advice(path, name, command)
            raise CorpusError(f"{name} is not {encoding} text: NUL at character {characters + nul}; {advice}")
        kept = text.removeprefix("\ufeff") if is_wide(codec) and not characters and not _drops_mark(codec) else text
        bytes_read += len(data)
        characters += len(text)
        if kept := kept.replace("\0", ""):
            yield kept


def _drops_mark(codec: str) -> bool:
    return codec in ("utf-8-sig", "utf-16", "utf-32")


def _check_is_text(head: bytes, name: str) -> None:
    for magic, kind in _NOT_TEXT.items():
        if head.startswith(magic):
            raise CorpusError(f"{name} is {kind}; save its text as a file of plain text, and train on that")


def _advice(path: Path, name: str, command: Command | None) -> str:
    """The advice about a text in another encoding. The command that it names reads the whole file."""
    if command is None:
        return "delete it to get the published one"
    encoding, has_nul = guess(lambda: read_bytes(path, name))
    if has_nul and encoding == "utf-8":
        return f"if it is text, leave such characters out: {command(drop_nul='true')}"
    nul = {"drop_nul": "true"} if has_nul else {}
    return f"if it is text, name its encoding, such as {encoding}: {command(encoding=encoding, **nul)}"


def settled_encoding(path: Path, name: str, encoding: str) -> str:
    """The encoding of a file; ``auto`` is UTF-8, or the one that its byte-order mark declares.

    Raises:
        CorpusError: if the file cannot be read.
    """
    if encoding != "auto":
        return encoding
    return marked_encoding(read_head(path, name, MARK_SIZE)) or "utf-8"


def is_text(path: Path, *, wide: bool) -> bool:
    """Whether a file seems to be text: no NUL is among its first bytes, unless its encoding uses NUL.

    Args:
        path: the file.
        wide: whether its characters are known to have several bytes each.

    Raises:
        CorpusError: if the file cannot be read.
    """
    head = read_head(path, str(path), _HEAD)
    if any(head.startswith(magic) for magic in _NOT_TEXT):
        return False
    return wide or is_wide(marked_encoding(head) or "utf-8") or b"\0" not in head


def read_head(path: Path, name: str, size: int) -> bytes:
    """The first bytes of a file, at most ``size``.

    Raises:
        CorpusError: if the file cannot be read.
    """
    head = b""
    for data in read_bytes(path, name, at_a_time=size):
        head += data
        if len(head) >= size:
            break
    return head[:size]


def read_bytes(path: Path, name: str, start: int = 0, at_a_time: int | None = None) -> Iterator[bytes]:
    """Yields the content of a file, uncompressed, in pieces; the last piece is empty.

    Args:
        path: the file.
        name: its name in messages.
        start: the number of bytes at its beginning to leave out.
        at_a_time: the most bytes in a piece, by default :data:`PIECE`.

    Raises:
        CorpusError: if the file does not exist, is a folder, cannot be read, or is a damaged gzip file.
    """
    if os.path.isdir(path):
        raise CorpusError(f"{name} is a folder; name a file")
    if os.path.exists(path) and not os.path.isfile(path):
        raise CorpusError(f"{name} is a pipe or a device; name a file")
    try:
        with open(path, "rb", opener=_without_waiting) as raw:
            is_compressed = raw.peek(2)[:2] == b"\x1f\x8b"
            file = gzip.GzipFile(fileobj=raw) if is_compressed else raw
            file.read(start)
            while data := file.read(at_a_time or PIECE):
                yield data
    except FileNotFoundError:
        raise CorpusError(f"{name} does not exist; check the path") from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise CorpusError(f"{name} is compressed with gzip, but is cut short or damaged; get it again") from None
    except OSError as error:
        raise CorpusError(f"{name} cannot be read: {error.strerror}") from None
    yield b""


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def not_blank(name: object, texts: Iterable[str]) -> Iterator[str]:
    """Yields the texts that contain more than white space.

    Raises:
        CorpusError: at the end, if there were none.
    """
    empty = True
    for text in texts:
        if text.strip():
            empty = False
            yield text
    if empty:
        raise no_text(name)


def not_all_blank(name: object, pieces: Iterable[str]) -> Iterator[str]:
    """Yields the pieces of a text unchanged.

    Raises:
        CorpusError: at the end, if all of them were white space.
    """
    empty = True
    for piece in pieces:
        empty = empty and not piece.strip()
        yield piece
    if empty:
        raise no_text(name)


def no_text(name: object, reason: str = "") -> CorpusError:
    """The error of a corpus without text."""
    return CorpusError(f"the corpus is empty: {name} has no text{f' ({reason})' if reason else ''}")
