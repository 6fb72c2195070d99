"""Sessions of ONNX Runtime, on devices that work, with errors in one line. Importing this imports onnxruntime."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import onnxruntime

from textgen import Check, distribution_version, usable_cores
from textgen.errors import ArtifactError, UnavailableError
from textgen_onnx.running.cuda import SILENT, why_lost_by_a_fork, why_no_cuda

#: The sessions of this process, and those of its parent if it was forked.
_opened: WeakSet[Any] = WeakSet()


def _never_close() -> None:
    """Keep all sessions for as long as this process lives.

    Closing a session waits for its threads. After a fork there are none in the child, which would wait for ever.
    """
    for session in _opened:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_never_close)


def open_session(
    model: bytes, name: str, device: str, *, threads: int = 0, cuda_graph: bool = False, optimized: bool = True
) -> Any:
    """Load a graph.

    Args:
        model: the serialised graph, weights inside.
        name: of its file, for errors.
        device: ``"cpu"`` or ``"cuda:N"``.
        threads: inside an operator, on the CPU; 0 for one per core.
        cuda_graph: whether to capture runs as CUDA graphs.
        optimized: whether to rewrite the graph so that it runs faster, which may compute parts of it at once.

    Raises:
        ArtifactError: if ONNX Runtime cannot read the graph.
        UnavailableError: if the device does not work.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = SILENT
    # Between two runs, the cores belong to others: by default, threads spin on for a while.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    providers: list[Any] = ["CPUExecutionProvider"]
    if device != "cpu":
        cuda = {"device_id": device.removeprefix("cuda:"), "enable_cuda_graph": str(int(cuda_graph))}
        if lost := why_lost_by_a_fork():
            raise UnavailableError(lost)
        providers = [("CUDAExecutionProvider", cuda), *providers]
        if cuda_graph:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
            providers.pop()
    try:
        session = onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:  # onnxruntime has a class of its own for each kind of failure
        if device != "cpu" and (missing := why_no_cuda()):
            raise UnavailableError(missing) from None
        raise ArtifactError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load {name}; export again, or upgrade it: "
            f"{reason_of(error)}"
        ) from None
    if device != "cpu" and "CUDAExecutionProvider" not in session.get_providers():
        raise UnavailableError(why_no_cuda() or f"CUDA has no device {device}; use another number, or --device cpu")
    _opened.add(session)
    _return_freed_memory()
    return session


def _return_freed_memory() -> None:
    """Give back what opening a session has freed, which glibc keeps: some six times the tables of an n-gram."""
    with suppress(AttributeError, OSError, TypeError):  # no glibc
        ctypes.CDLL(None).malloc_trim(0)


def is_failure(error: Exception) -> bool:
    """Whether an error is one of ONNX Runtime's, which has a class of its own for each kind of failure."""
    return type(error).__module__.startswith("onnxruntime")


def reason_of(error: BaseException) -> str:
    """What ONNX Runtime says about a failure, in one line, without the place in its source; else what kind it is."""
    return " ".join(str(error).split()).rsplit(") ", 1)[-1][:300] or type(error).__name__


def check_installation() -> list[Check]:
    """The state of ONNX Runtime, and of CUDA in it, on this machine."""
    installed = [name for name in ("onnxruntime", "onnxruntime-gpu") if distribution_version(name) != "unknown"]
    what = " and ".join(f"{name} {distribution_version(name)}" for name in installed)
    if len(installed) > 1:
        advice = (
            "they overwrite each other's files; keep one: pip uninstall -y onnxruntime onnxruntime-gpu, then: "
            "pip install textgen-rnn"
        )
        return [Check(what, "broken", advice)]
    missing = why_no_cuda()
    cuda = Check("CUDA in ONNX Runtime", "absent" if missing else "works", missing)
    cores = usable_cores()
    return [Check(f"{what} on the CPU, with {cores} core{'s' * (cores != 1)}", "works"), cuda]
