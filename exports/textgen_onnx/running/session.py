"""Sessions of ONNX Runtime: providers that really work, errors in one line. Importing this imports onnxruntime."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime

from textgen.errors import ArtifactError, UnavailableError
from textgen.generation.runtime import parse_device

#: Of onnxruntime's log: fatal only, since what goes wrong is raised.
_SILENT = 4


def open_session(model: bytes, name: str, device: str, *, threads: int = 0, cuda_graph: bool = False) -> Any:
    """Load a graph.

    Args:
        model: the serialised graph, weights inside.
        name: of its file, for errors.
        device: ``"cpu"`` or ``"cuda:N"``.
        threads: inside an operator, on the CPU; 0 for as many as there are cores.
        cuda_graph: whether to capture runs as CUDA graphs.

    Raises:
        ArtifactError: where ONNX Runtime cannot read the graph.
        UnavailableError: where the device does not work.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT
    providers: list[Any] = ["CPUExecutionProvider"]
    if device != "cpu":
        cuda = {"device_id": device.removeprefix("cuda:"), "enable_cuda_graph": str(int(cuda_graph))}
        providers = [("CUDAExecutionProvider", cuda), *providers]
        if cuda_graph:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
            providers.pop()
    try:
        session = onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:  # onnxruntime raises a class of its own for each kind of failure
        if device != "cpu" and (missing := why_no_cuda()):
            raise UnavailableError(missing) from None
        reason = " ".join(str(error).split()).rsplit(") ", 1)[-1]  # what follows the place in ONNX Runtime's source
        raise ArtifactError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load {name}; export again, or upgrade it: {reason}"
        ) from None
    if device != "cpu" and "CUDAExecutionProvider" not in session.get_providers():
        raise UnavailableError(why_no_cuda() or f"CUDA has no device {device}; use another number, or --device cpu")
    return session


#: Element type and shape of an input or output; ``None`` stands for a dynamic dimension.
Tensor = tuple[str, tuple[int | None, ...]]


def check_signature(session: Any, name: str, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> None:
    """Check that a graph takes exactly some inputs, and gives at least some outputs.

    Raises:
        ArtifactError: where it does not; names the first that differs.
    """
    takes, gives = _signature(session.get_inputs()), _signature(session.get_outputs())
    for wanted, found, what in ((inputs, takes, "input"), (outputs, gives, "output")):
        for tensor, (kind, shape) in wanted.items():
            if found.get(tensor) != (kind, shape):
                sizes = ", ".join("?" if size is None else str(size) for size in shape)
                raise ArtifactError(
                    f"{name} is no graph of this model: its {what} {tensor} is not {kind} [{sizes}]; export again"
                )
    if extra := takes.keys() - inputs.keys():
        raise ArtifactError(f"{name} is no graph of this model: it has the input {min(extra)}; export again")


def _signature(values: Sequence[Any]) -> dict[str, Tensor]:
    names = {"tensor(float)": "float32", "tensor(double)": "float64"}
    return {
        value.name: (
            names.get(value.type) or value.type.removeprefix("tensor(").removesuffix(")"),
            tuple(size if isinstance(size, int) else None for size in value.shape),
        )
        for value in values
    }


def resolve_device(device: str) -> str:
    """The device that a request stands for.

    Args:
        device: ``"auto"`` (a GPU where there is one that works, else the CPU), ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Returns:
        ``"cpu"`` or ``"cuda:N"``.

    Raises:
        UnavailableError: where CUDA is asked for and does not work; says what is missing.
        OptionError: for anything else.
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
    """What CUDA lacks on this machine, and what to do; empty where it works."""
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return (
            "the installed ONNX Runtime has no CUDA; if both are installed, run pip uninstall onnxruntime "
            'onnxruntime-gpu first, then: pip install "textgen-rnn[cuda]"'
        )
    if not _has_driver():
        return "there is no NVIDIA driver: no GPU device is visible to this process"
    # The list of providers says what was compiled in; only a session tells whether CUDA and cuDNN can be loaded.
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _SILENT
    session = onnxruntime.InferenceSession(_identity_graph(), options, providers=["CUDAExecutionProvider"])
    if "CUDAExecutionProvider" not in session.get_providers():
        return 'CUDA or cuDNN cannot be loaded: pip install "textgen-rnn[cuda]"'
    return ""


def _has_driver() -> bool:
    if sys.platform == "win32":
        return (Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvcuda.dll").exists()
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()


def _identity_graph() -> bytes:
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
