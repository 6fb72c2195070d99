"""Functions of arrays, compiled to machine code by :mod:`numba` and kept on disk for other processes."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

# Division by 0 gives inf, as in NumPy. A product and a sum may be one operation; all else is rounded as written.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}}


def hash_of(folder: Path) -> str:
    """A hash of the names and contents of all Python files in a folder and its subfolders."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


#: The version of the machine code: it changes with any file of this folder.
SOURCES = hash_of(Path(__file__).parent)


class _FilePerEntry(IndexDataCacheFile):  # type: ignore[misc]  # numba is untyped
    """The files of a cache, each named after the key of its entry, so that no index is needed.

    Numba numbers the files, and keeps an index of keys and numbers that it writes before the files. Processes that
    compile at the same time then choose one number for two entries, and run the machine code of the other one. Each
    file begins with the SHA-256 of the rest: damaged machine code could do anything, so it is compiled anew.
    """

    def load(self, key: Any) -> Any:
        try:
            content = Path(self._data_path(self._name(key))).read_bytes()
        except FileNotFoundError:
            return None
        digest, data = content[:32], content[32:]
        return pickle.loads(data) if hashlib.sha256(data).digest() == digest else None

    def save(self, key: Any, data: Any) -> None:
        data = self._dump(data)
        with self._open_for_write(self._data_path(self._name(key))) as file:
            file.write(hashlib.sha256(data).digest() + data)

    def _name(self, key: Any) -> str:
        digest = hashlib.sha256(repr((self._version, self._source_stamp, key)).encode())
        name: str = self._data_name(int(digest.hexdigest()[:32], 16))
        return name


class _Places(FunctionCache._impl_class):  # type: ignore[misc]  # numba is untyped
    """The places of a cache, without the user's folder for a user who has none: Numba would make one called ``~``."""

    _locator_classes: ClassVar = [
        place
        for place in FunctionCache._impl_class._locator_classes
        if os.path.isabs(os.path.expanduser("~")) or "UserWide" not in place.__name__
    ]


class _FolderCache(FunctionCache):  # type: ignore[misc]  # numba is untyped
    """Numba's cache on disk, in which machine code is found only if no file of this folder has changed since.

    Numba by itself compares the function and its own file, but machine code contains functions of other files, too. It
    has no public setting for this; the key of an entry is the one place where all that the entry depends on meets.
    """

    _impl_class = _Places

    def __init__(self, function: Callable[..., None]) -> None:
        super().__init__(function)
        self._cache_file = _FilePerEntry(
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=self._impl.locator.get_source_stamp(),
        )

    def _index_key(self, signature: Any, codegen: Any) -> tuple[Any, ...]:
        return (*super()._index_key(signature, codegen), SOURCES)


def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a function of arrays at its first call, and keep its machine code on disk if there is a place for it.

    It runs without Python's global lock.
    """
    jit = numba.njit(nogil=True, **_OPTIONS)
    machine_code = jit(function)
    with suppress(RuntimeError):  # if no folder can be written, each process compiles
        machine_code._cache = _FolderCache(function)

    def run(*arguments: Any) -> None:
        nonlocal machine_code
        try:
            machine_code(*arguments)
        except OSError:  # a disk is full, or a file cannot be read: nothing was run yet
            machine_code = jit(function)
            machine_code(*arguments)

    return run


def compiled_part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Like :func:`compiled`, for a function that only compiled functions call: it becomes a part of them."""
    jit = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)
    return jit(function)  # type: ignore[no-any-return]


def compiled_in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    """Like :func:`compiled_part`, for trivial functions: inlined into their callers."""
    return numba.njit(inline="always", **_OPTIONS)(function)  # type: ignore[no-any-return]
