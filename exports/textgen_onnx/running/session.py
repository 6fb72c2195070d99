"""Sessions of ONNX Runtime, on devices that work, with errors in one line. Importing this imports onnxruntime."""

from __future__ import annotations

from typing import Any

import onnxruntime

from textgen import Check, distribution_version, usable_cores
from textgen.errors import ArtifactError, UnavailableError
from textgen_onnx.running.cuda import SILENT, why_no_cuda


def open_session(model: bytes, name: str, device: str, *, threads: int = 0, cuda_graph: bool = False) -> Any:
    """Load a graph.

    Args:
        model: the serialised graph, weights inside.
        name: of its file, for errors.
        device: ``"cpu"`` or ``"cuda:N"``.
        threads: inside an operator, on the CPU; 0 for one per core.
        cuda_graph: whether to capture runs as CUDA graphs.

    Raises:
        ArtifactError: if ONNX Runtime cannot read the graph.
        UnavailableError: if the device does not work.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = SILENT
    providers: list[Any] = ["CPUExecutionProvider"]
    if device != "cpu":
        cuda = {"device_id": device.removeprefix("cuda:"), "enable_cuda_graph": str(int(cuda_graph))}
        providers = [("CUDAExecutionProvider", cuda), *providers]
        if cuda_graph:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
            providers.pop()
    try:
        session = onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:  # onnxruntime has a class of its own for each kind of failure
        if device != "cpu" and (missing := why_no_cuda()):
            raise UnavailableError(missing) from None
        reason = " ".join(str(error).split()).rsplit(") ", 1)[-1]  # without the place in ONNX Runtime's source
        raise ArtifactError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load {name}; export again, or upgrade it: {reason}"
        ) from None
    if device != "cpu" and "CUDAExecutionProvider" not in session.get_providers():
        raise UnavailableError(why_no_cuda() or f"CUDA has no device {device}; use another number, or --device cpu")
    return session


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
    return [Check(f"{what} on the CPU, with {usable_cores()} cores", "works"), cuda]
