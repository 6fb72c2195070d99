"""Functions of arrays as machine code that :mod:`numba` compiles and other processes find again."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

#: The files whose functions become parts of compiled ones: all of this folder.
_PARTS = sorted(Path(__file__).parent.glob("*.py"))

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract"}}


def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a function of arrays at its first call, and keep the machine code for other processes.

    It runs without Python's lock, and rounds as written, but that a product and a sum may be one operation.
    """
    # Numba names a file after the function, and looks only at the function's own source: not at its parts'.
    sources = b"".join(path.read_bytes() for path in _PARTS)
    function.__qualname__ += f"-{hashlib.sha256(sources).hexdigest()[:16]}"
    without_keeping = numba.njit(nogil=True, **_OPTIONS)
    try:
        machine_code = numba.njit(nogil=True, cache=True, **_OPTIONS)(function)
    except RuntimeError:  # there is no folder to keep it in
        machine_code = without_keeping(function)

    def run(*arguments: Any) -> None:
        nonlocal machine_code
        try:
            machine_code(*arguments)
        except (OSError, EOFError, pickle.UnpicklingError):  # a disk is full, or a file damaged: nothing was called yet
            machine_code = without_keeping(function)
            machine_code(*arguments)

    return run


def compiled_part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Like :func:`compiled`, for a function that compiled ones alone call: it becomes a part of them."""
    jit = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)
    return jit(function)  # type: ignore[no-any-return]


def compiled_in_place(function: Callable[..., Any]) -> Callable[..., Any]:
    """Like :func:`compiled_part`, for what is no work: its statements are written where it is called."""
    return numba.njit(inline="always", **_OPTIONS)(function)  # type: ignore[no-any-return]
