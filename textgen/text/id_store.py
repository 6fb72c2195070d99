"""A store for the ids of a text that may be larger than memory."""

from __future__ import annotations

import mmap
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textgen.errors import UnavailableError

#: Ids as they are stored; see :func:`smallest_type`.
StoredIds = NDArray[np.uint8 | np.uint16 | np.int32]

#: Bytes of ids up to which a store stays in memory; a larger one is a memory-mapped file.
LARGE = 1 << 26


def smallest_type(vocab_size: int) -> np.dtype[Any]:
    """The type that stores ids from 0 to ``vocab_size - 1``: uint8 up to 256 ids, uint16 up to 65,536, else int32."""
    return np.dtype(np.uint8 if vocab_size <= 1 << 8 else np.uint16 if vocab_size <= 1 << 16 else np.int32)


class IdStore:
    """Collects ids piece by piece, and returns them as one array.

    More than :data:`LARGE` bytes go to an unnamed file in the folder for temporary files (``TMPDIR``). Since it has no
    name, it vanishes with the process, even if that is killed.

    Args:
        dtype: the type of the ids.

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
        """Appends ids ``[n]``; the type must be able to hold each.

        Raises:
            UnavailableError: if the file cannot be written, for example on a full disk.
        """
        try:
            self._file.write(np.ascontiguousarray(ids, self._dtype).data)
            self._file.flush()
        except OSError as error:
            raise UnavailableError(
                f"the encoded corpus cannot be stored in {tempfile.gettempdir()}: {error.strerror}; make room there, "
                "or set TMPDIR to another folder"
            ) from None

    def take(self) -> StoredIds:
        """Returns all ids, ``[n]``, read-only, in memory or memory-mapped; ids cannot be added afterwards."""
        with self._file as file:
            if file.tell() > LARGE:
                content: Any = mmap.mmap(
                    file.fileno(), 0, access=mmap.ACCESS_READ
                )  # stays valid when the file is closed
            else:
                file.seek(0)
                content = file.read()
        return np.frombuffer(content, self._dtype)
