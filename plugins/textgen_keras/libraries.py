"""The heavy libraries, TensorFlow, Keras and Numba: imported on first use, with a one-line error if one is missing."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from textgen import keep_in_cache, usable_cores
from textgen.errors import UnavailableError

#: Holds the processes that began, by a fork, after TensorFlow had started its threads in their parent.
_lost: list[int] = []

#: Held while the libraries are imported: another thread would find a Keras that is there in part.
_importing = threading.RLock()


def _after_fork() -> None:
    context = getattr(sys.modules.get("tensorflow.python.eager.context"), "_context", None)
    if context is not None and getattr(context, "_initialized", True):
        _lost.append(os.getpid())


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


def require_tensorflow() -> None:
    """Import TensorFlow and Keras; a second call costs nothing.

    TensorFlow logs nothing unless ``TF_CPP_MIN_LOG_LEVEL`` is set.

    Raises:
        UnavailableError: if TensorFlow is not installed or cannot be loaded, Keras is set to another backend, or this
            process was forked from one in which TensorFlow has run.
    """
    if _lost:
        raise UnavailableError(
            "TensorFlow does not survive a fork: start this process with multiprocessing's method spawn, let its "
            "parent not use TensorFlow, or write text with the runtime onnx or numpy"
        )
    with _importing:
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
    is_new = "tensorflow" not in sys.modules
    keep_in_cache("KERAS_HOME", "keras")
    try:
        with usual_warnings():
            import keras  # noqa: F401
            import tensorflow as tf
    except (ImportError, MemoryError) as error:
        raise UnavailableError(_why_not("TensorFlow", ("tensorflow", "keras"), error)) from error
    if is_new and usable_cores() < (os.cpu_count() or 1):  # it knows of no quota
        tf.config.threading.set_intra_op_parallelism_threads(usable_cores())
        tf.config.threading.set_inter_op_parallelism_threads(usable_cores())


def _why_not(library: str, modules: tuple[str, ...], error: ImportError | MemoryError) -> str:
    """The reason why a library cannot be imported, and what to do."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in modules:
        return f'training needs {library}: pip install "textgen-rnn[train]"'
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or any(sign in reason for sign in _NO_MEMORY):
        return f"too little memory to load {library}, which training needs: raise the limit (ulimit -v) ({reason})"
    remedy = "pip install --force-reinstall tensorflow keras"
    return f"{library}, which training needs, does not work: {reason}; reinstall it: {remedy}"


#: What the errors of imports say where memory is short.
_NO_MEMORY = ("failed to map segment", "annot allocate memory", "bad_alloc", "out of memory", "nable to allocate")


@contextmanager
def usual_warnings() -> Iterator[None]:
    """A context in which warnings are not errors, whatever the process has chosen."""
    with warnings.catch_warnings():
        if any(action == "error" for action, *_ in warnings.filters):
            warnings.simplefilter("default")
            for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", category)
        yield


@contextmanager
def usual_settings() -> Iterator[None]:
    """A context in which Keras and TensorFlow are set as they are by default, whatever the process has set before.

    These settings are global, and decide what a layer or an optimizer computes from when it is made. They are restored
    at the end.
    """
    import keras
    import tensorflow as tf

    config, optimizer = keras.config, tf.config.optimizer
    floatx, policy, layout, epsilon = (
        config.floatx(),
        config.dtype_policy(),
        config.image_data_format(),
        config.epsilon(),
    )
    is_eager, is_jit = tf.config.functions_run_eagerly(), bool(optimizer.get_jit())
    try:
        config.set_floatx("float32")
        config.set_dtype_policy("float32")
        config.set_image_data_format("channels_last")
        config.set_epsilon(1e-7)
        tf.config.run_functions_eagerly(False)
        if is_jit:
            optimizer.set_jit(False)
        with usual_warnings(), np.errstate(all="ignore"):
            yield
    finally:
        config.set_floatx(floatx)
        config.set_dtype_policy(policy)
        config.set_image_data_format(layout)
        config.set_epsilon(epsilon)
        tf.config.run_functions_eagerly(is_eager)
        if is_jit:
            optimizer.set_jit(True)


@contextmanager
def needs_numba() -> Iterator[None]:
    """A context for imports from :mod:`textgen_keras.kernels`, which need Numba.

    Raises:
        UnavailableError: if Numba is not installed, or does not work with the installed NumPy.
    """
    if usable_cores() < (os.cpu_count() or 1):  # it knows of no quota
        os.environ.setdefault("NUMBA_NUM_THREADS", str(usable_cores()))
    keep_in_cache("NUMBA_CACHE_DIR", "numba")
    try:
        with usual_warnings():
            yield
    except (ImportError, MemoryError) as error:
        raise UnavailableError(_why_not("Numba", ("numba", "llvmlite"), error)) from error


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
