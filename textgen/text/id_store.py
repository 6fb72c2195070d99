"""The ids of a text that may be larger than memory: gathered piece by piece, in the smallest type that holds them."""

from __future__ import annotations

import mmap
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen.errors import UnavailableError

#: Ids as they are kept; see :func:`smallest_type`.
StoredIds = NDArray[np.uint8 | np.uint16 | np.int32]

#: Bytes of ids that are kept in memory; more are kept in a memory-mapped file.
LARGE = 1 << 26


def smallest_type(vocab_size: int) -> np.dtype[Any]:
    """The type that ids from 0 to ``vocab_size - 1`` are kept in: uint8 up to 256 ids, uint16 up to 65,536, int32."""
    return np.dtype(np.uint8 if vocab_size <= 1 << 8 else np.uint16 if vocab_size <= 1 << 16 else np.int32)


class IdStore:
    """Gathers ids, and gives them back as one array.

    More than :data:`LARGE` bytes go to a file without a name in the folder for temporary files (``TMPDIR``), so that
    nothing is left of it, however the process ends.

    Args:
        dtype: of the ids.

    Example:
        >>> store = IdStore(np.dtype(np.uint8))
        >>> store.add(np.array([1, 2], np.int32))
        >>> store.add(np.array([3], np.int32))
        >>> store.take()
        array([1, 2, 3], dtype=uint8)
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._file = tempfile.SpooledTemporaryFile(max_size=LARGE)  # noqa: SIM115 - closed by take

    def add(self, ids: NDArray[Any]) -> None:
        """Append ids ``[n]``, each of which the type must be able to hold.

        Raises:
            UnavailableError: where the file cannot be written, as on a full disk.
        """
        try:
            self._file.write(np.ascontiguousarray(ids, self._dtype).data)
            self._file.flush()
        except OSError as error:
            raise UnavailableError(
                f"the encoded corpus cannot be kept in {tempfile.gettempdir()}: {error.strerror}; make room there, or "
                "name another folder in TMPDIR"
            ) from None

    def take(self) -> StoredIds:
        """All ids, ``[n]``, read-only, in memory or mapped into it; nothing can be added after that."""
        with self._file as file:
            if file.tell() > LARGE:
                content: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)  # outlives the open file
            else:
                file.seek(0)
                content = file.read()
        return np.frombuffer(content, self._dtype)
