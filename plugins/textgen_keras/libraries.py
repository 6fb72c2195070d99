"""The heavy libraries, TensorFlow, Keras and Numba: imported on first use, with a one-line error if one is missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from textgen.errors import UnavailableError


def require_tensorflow() -> None:
    """Import TensorFlow and Keras; a second call costs nothing.

    TensorFlow logs nothing unless ``TF_CPP_MIN_LOG_LEVEL`` is set.

    Raises:
        UnavailableError: if TensorFlow is not installed, or Keras is set to another backend.
    """
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if "keras" in sys.modules:
        backend = sys.modules["keras"].config.backend()
    if backend != "tensorflow":
        raise UnavailableError(
            f"Keras is set to {backend!r}, and textgen trains on TensorFlow; set KERAS_BACKEND=tensorflow"
        )
    if "tensorflow" in sys.modules or os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3":
        _import_tensorflow()
    else:
        with _silent_stderr():
            _import_tensorflow()


def _import_tensorflow() -> None:
    try:
        import keras  # noqa: F401
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise UnavailableError('training needs TensorFlow: pip install "textgen-rnn[train]"') from error


@contextmanager
def needs_numba() -> Iterator[None]:
    """A context for imports from :mod:`textgen_keras.kernels`, which need Numba.

    Raises:
        UnavailableError: if Numba is not installed, or does not work with the installed NumPy.
    """
    try:
        yield
    except ImportError as error:
        reason = "" if isinstance(error, ModuleNotFoundError) else f" ({' '.join(str(error).split())})"
        raise UnavailableError(f'training needs Numba: pip install "textgen-rnn[train]"{reason}') from error


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drop what is written to file descriptor 2: TensorFlow writes some lines before it reads its log level."""
    try:
        saved = os.dup(2)
    except OSError:  # the process has no stderr
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
