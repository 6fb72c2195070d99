"""CUDA in ONNX Runtime: choosing a device, and finding out what is missing. Importing this imports onnxruntime."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

from textgen import parse_device
from textgen.errors import UnavailableError
from textgen_onnx.contract import IR_VERSION, OPSET

try:
    import onnxruntime

    onnxruntime.InferenceSession  # noqa: B018 - of a half removed one, the empty package is left
except (ImportError, AttributeError) as error:
    raise UnavailableError(
        "ONNX Runtime is not installed, or only in part, as after removing one of onnxruntime and onnxruntime-gpu: "
        "pip uninstall -y onnxruntime onnxruntime-gpu, then: pip install textgen-rnn"
    ) from error

#: Severity of ONNX Runtime's log, fatal only: errors are raised as well.
SILENT = 4


def resolve_device(device: str) -> str:
    """Choose the device for a request.

    Args:
        device: ``"auto"`` (a GPU if one works, else the CPU), ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Returns:
        ``"cpu"`` or ``"cuda:N"``.

    Raises:
        UnavailableError: if CUDA is requested and does not work; names what is missing.
        OptionError: for any other value.
    """
    kind, index = parse_device(device)
    if kind == "cpu" or (kind == "auto" and not _has_driver()):
        return "cpu"
    if reason := why_no_cuda():
        if kind == "auto":
            return "cpu"
        raise UnavailableError(f"--device {device} does not work here: {reason}; or use --device cpu")
    return f"cuda:{index}"


def why_no_cuda() -> str:
    """The reason why CUDA does not work on this machine, and what to do; empty if it works."""
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return (
            "the installed ONNX Runtime has no CUDA; if both are installed, run pip uninstall onnxruntime "
            'onnxruntime-gpu first, then: pip install "textgen-rnn[cuda]"'
        )
    if not _has_driver():
        return "there is no NVIDIA driver: no GPU device is visible to this process"
    if lost := why_lost_by_a_fork():
        return lost
    # The list of providers shows what was compiled in; only a session shows whether CUDA and cuDNN can be loaded.
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    session = onnxruntime.InferenceSession(_identity_graph(), options, providers=["CUDAExecutionProvider"])
    if "CUDAExecutionProvider" not in session.get_providers():
        return 'CUDA or cuDNN cannot be loaded: pip install "textgen-rnn[cuda]"'
    return ""


def why_lost_by_a_fork() -> str:
    """The reason why CUDA does not work in a process whose parent has used it, and what to do; empty if it works."""
    if _first_to_use_cuda() == os.getpid():
        return ""
    return "this process was forked from one that uses CUDA: start it with multiprocessing's method spawn"


@cache
def _first_to_use_cuda() -> int:
    """The process that called this first, of this one and those that it was forked from."""
    return os.getpid()


def _has_driver() -> bool:
    if sys.platform == "win32":
        return (Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvcuda.dll").exists()
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


def _identity_graph() -> bytes:
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return bytes(model.SerializeToString())
