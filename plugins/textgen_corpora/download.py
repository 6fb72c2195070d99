"""Downloads with pooch: from mirrors in turn, verified, completely or not at all. Imported only for a download."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import requests

from textgen import Source, notice, progress_bar, write_atomically
from textgen.errors import UnavailableError

with warnings.catch_warnings():
    # In a notebook without ipywidgets, tqdm warns that it needs them; pooch imports it, and nothing here uses it.
    warnings.filterwarnings("ignore", "IProgress not found")
    import pooch

if TYPE_CHECKING:
    from rich.progress import Progress

#: Seconds to wait for a connection, and for the next bytes.
TIMEOUTS = (5, 20)


def download(source: Source, path: Path) -> None:
    """Downloads a file to ``path`` from the first of its addresses that serves the published content.

    Raises:
        UnavailableError: if no address does, or the folder cannot be written to.
    """
    pooch.get_logger().setLevel("WARNING")
    failures = []
    for address in source.addresses:
        notice(f"downloading {source.file} from {address}")
        try:
            with _progress(source.file) as progress:
                downloader = pooch.HTTPDownloader(
                    progressbar=progress,
                    chunk_size=1 << 16,
                    timeout=TIMEOUTS,
                    # Compressed transfers would report a length that is not the file's.
                    headers={"Accept-Encoding": "identity"},
                )
                with TemporaryDirectory(prefix="textgen-") as folder:  # a killed download leaves nothing in the cache
                    found = pooch.retrieve(address, f"sha256:{source.sha256}", path.name, folder, downloader=downloader)
                    write_atomically(path, Path(found).read_bytes())
            return
        except (requests.RequestException, ValueError) as error:
            failures.append(f"{address} ({_reason(error)})")
        except OSError as error:
            raise UnavailableError(
                f"{path} cannot be written: {error.strerror or error}; free some space or grant access, "
                f"or set TEXTGEN_CACHE_DIR to another folder"
            ) from None
    raise UnavailableError(
        f"cannot download {source.file} from {' or '.join(failures)}; get it in another way and save it as {path}, "
        f"or as {source.file} in the folder of --data-dir or TEXTGEN_DATA_DIR"
    )


def _reason(error: Exception) -> str:
    match error:
        case requests.HTTPError(response=requests.Response(status_code=status)):
            return f"HTTP status {status}"
        case requests.Timeout():
            return "timed out"
        case requests.exceptions.SSLError():
            return "its certificate is not trusted"
        case requests.ConnectionError():
            return "no connection"
        case requests.RequestException():
            return "the transfer was interrupted"
        case _:
            return "not the published content"


@contextmanager
def _progress(name: str) -> Iterator[_Bar | None]:
    """A progress bar on a terminal, ``None`` elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as progress:
        yield _Bar(progress, name)


class _Bar:
    """A progress bar as pooch expects it, drawn by rich."""

    #: Size in bytes, set by pooch; 0 if the server does not report it.
    total = 0

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=None)

    def update(self, amount: int) -> None:
        self._progress.update(self._task, total=self.total or None, advance=amount)

    def reset(self) -> None:
        self._progress.reset(self._task)

    def close(self) -> None:
        """Nothing to do: the bar ends with the ``with`` block of its progress display."""
