"""Prompts from files and pipes."""

from __future__ import annotations

import errno
import os
import re
import sys
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

from textgen.errors import OptionError

#: The most bytes of a file of prompts.
_PROMPTS_LIMIT = 2**28

#: Paths of what a shell opened for this process; it may be a pipe.
OPENED = re.compile(r"/dev/stdin|/(?:dev|proc/self)/fd/[0-9]+")


def read_prompts(whole: str | None, lines: str | None) -> list[str]:
    """The prompt that is a file, and the prompts that are the lines of another."""
    if whole == lines == "-":
        raise OptionError("--prompt-file - and --prompts-file - cannot both read stdin; give one of them a file")
    prompts = []
    if whole is not None:
        text = _read_text(whole)
        if not text:
            raise OptionError(f"{_name(whole)} is empty; for a text without a prompt use --prompt ''")
        prompts.append(re.sub(r"(\r\n|\n|\r)\Z", "", text))
    if lines is not None:
        found = [line for line in re.split(r"\r\n|\n|\r", _read_text(lines)) if line]
        if not found:
            raise OptionError(f"{_name(lines)} has no prompts; write one per line")
        prompts += found
    return prompts


def _read_text(path: str) -> str:
    """The text of a file, or of stdin for ``-``, without a byte-order mark; ``./-`` is a file."""
    try:
        content = read_bytes(path)
    except OSError as error:
        raise OptionError(f"the prompts in {_name(path)} cannot be read: {error.strerror}") from None
    encoding = "utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise OptionError(
            f"the prompts in {_name(path)} are not UTF-8 text at byte {error.start}; save them as UTF-8"
        ) from None


def read_bytes(path: str) -> bytes:
    """The bytes of a file, of stdin, or of a pipe that a shell opened.

    Raises:
        OptionError: if there are too many.
    """
    content = _read_limited(path)
    if len(content) > _PROMPTS_LIMIT:
        raise OptionError(f"{_name(path)} has more than {_PROMPTS_LIMIT:,} bytes, too many for prompts; shorten it")
    return content


def _read_limited(path: str) -> bytes:
    """The bytes, up to one more than the limit."""
    from textgen.files.reading import open_regular

    if path == "-":
        return sys.stdin.buffer.read(_PROMPTS_LIMIT + 1) if sys.stdin else b""
    if OPENED.fullmatch(whole := os.path.abspath(path)):
        with open(whole, "rb") as file:
            return file.read(_PROMPTS_LIMIT + 1)
    if Path(path).is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    with open_regular(Path(path), OptionError) as file:
        return file.read(_PROMPTS_LIMIT + 1)


def _name(path: str) -> str:
    return "stdin" if path == "-" else path
