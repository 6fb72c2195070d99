"""Published files: found in the data folder or the user's cache, or else downloaded into the cache."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import platformdirs

from textgen import Source, notice, sha256


def cached_path(source: Source) -> Path:
    """Where a downloaded file is kept: below ``TEXTGEN_CACHE_DIR``, or the user's cache folder."""
    cache_dir = os.environ.get("TEXTGEN_CACHE_DIR") or platformdirs.user_cache_dir("textgen", appauthor=False)
    return Path(cache_dir).absolute() / "corpora" / source.file


def at_hand(source: Source, data_dir: Path | None) -> Path | None:
    """The file in the data folder, or else in the cache; ``None`` where it is in neither."""
    candidates = [cached_path(source)] if data_dir is None else [data_dir / source.file, cached_path(source)]
    return next((path for path in candidates if path.is_file()), None)


def obtain(source: Source, data_dir: Path | None) -> Path:
    """The file, wherever it is, downloaded into the cache if need be.

    A file that a user put there is taken as it is; where it differs from the published one, a notice says so.

    Raises:
        UnavailableError: where it is not at hand and cannot be downloaded; says which file to put where.
    """
    path = at_hand(source, data_dir)
    if path is None:
        from textgen_corpora.download import download

        path = cached_path(source)
        download(source, path)
    _compare(path, source)
    return path


@cache
def _compare(path: Path, source: Source) -> None:
    if source.sha256 is not None and sha256(path) != source.sha256:
        notice(f"{path} differs from the published {source.file}; used as it is; delete it to get the published one")
