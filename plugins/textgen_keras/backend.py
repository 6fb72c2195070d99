"""TensorFlow, Keras and Numba, imported when they are first needed."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from textgen.errors import UnavailableError


def require_tensorflow() -> None:
    """Import TensorFlow, and with it Keras and Numba; a second call costs nothing.

    TensorFlow's log is silent unless ``TF_CPP_MIN_LOG_LEVEL`` is set.

    Raises:
        UnavailableError: where one of them is not installed, or Keras is set to another backend.
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
    for module, name in (("tensorflow", "TensorFlow"), ("keras", "Keras"), ("numba", "Numba")):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise UnavailableError(f'training needs {name}: pip install "textgen-rnn[train]"') from error


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
