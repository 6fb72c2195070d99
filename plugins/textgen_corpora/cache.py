"""Published files: found in the data folder or the cache, otherwise downloaded to the cache."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from textgen import Source, cache_folder, notice, sha256


def cached_path(source: Source) -> Path:
    """The path of a downloaded file in the cache folder."""
    return cache_folder() / "corpora" / source.file


def at_hand(source: Source, data_dir: Path | None) -> Path | None:
    """The file in the data folder, otherwise the one in the cache; ``None`` if neither exists."""
    candidates = [cached_path(source)] if data_dir is None else [data_dir / source.file, cached_path(source)]
    return next((path for path in candidates if path.is_file()), None)


def obtain(source: Source, data_dir: Path | None) -> Path:
    """The path of a file, which is downloaded to the cache if necessary.

    An existing file is used as it is; if it differs from the published one, that is reported.

    Raises:
        UnavailableError: if the file does not exist and cannot be downloaded; names the file and where to put it.
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
        notice(
            f"{path} differs from the published {source.file} and is used as it is; delete it to get the published one"
        )
