"""TensorFlow, Keras and Numba, imported when they are first needed."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from textgen.errors import UnavailableError


def require_tensorflow() -> None:
    """Import TensorFlow, and Keras on top of it; a second call costs nothing.

    Their log is silent unless ``TF_CPP_MIN_LOG_LEVEL`` is set.

    Raises:
        UnavailableError: where TensorFlow is not installed, or Keras is set to another backend.
    """
    chosen = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if "keras" in sys.modules:
        chosen = sys.modules["keras"].config.backend()
    if chosen != "tensorflow":
        raise UnavailableError(
            f"Keras is set to {chosen!r}, and textgen trains on TensorFlow; set KERAS_BACKEND=tensorflow"
        )
    if "tensorflow" in sys.modules or os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        _import()
    else:
        with _silent_stderr():
            _import()


def _import() -> None:
    try:
        importlib.import_module("tensorflow")
        importlib.import_module("keras")
    except ImportError as error:
        raise UnavailableError('training needs TensorFlow: pip install "textgen-rnn[train]"') from error


def import_compiled(module: str) -> Any:
    """A module of this package that needs Numba, which only training does.

    Raises:
        UnavailableError: where Numba is not installed, or does not fit what is.
    """
    try:
        return importlib.import_module(f"textgen_keras.{module}")
    except ImportError as error:
        reason = "" if isinstance(error, ModuleNotFoundError) else f" ({' '.join(str(error).split())})"
        raise UnavailableError(f'training needs Numba: pip install "textgen-rnn[train]"{reason}') from error


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drop what is written to file descriptor 2: some lines come before TensorFlow looks at its log level."""
    try:
        saved = os.dup(2)
    except OSError:  # a process without stderr
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
