"""Graphs that this machine has built or checked before, remembered in the cache folder by hashes.

A graph is textgen's own if the same bytes come out when it is built anew, and foreign graphs have to be checked. Both
import onnx, which takes longer than all else at start-up, so what came out is kept as an empty file whose name is a
hash of all that it depends on. The cache folder is the user's own; whoever writes there could as well change textgen.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from textgen import __version__, cache_folder


def key_of(content: bytes, *depends_on: object) -> str:
    """A name for a graph's bytes together with JSON values that they are judged by, and textgen's version."""
    judged_by = json.dumps([__version__, *depends_on], sort_keys=True)
    return hashlib.sha256(hashlib.sha256(content).digest() + judged_by.encode()).hexdigest()


def is_known(key: str) -> bool:
    """Whether a key was remembered."""
    try:
        return _file(key).is_file()
    except OSError:
        return False


def remember(key: str) -> None:
    """Remember a key; does nothing if the cache cannot be written."""
    with suppress(OSError):
        file = _file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def _file(key: str) -> Path:
    return cache_folder() / "graphs" / key
