"""Devices of TensorFlow. The functions need TensorFlow: see :func:`require_tensorflow`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from textgen import parse_device
from textgen.errors import UnavailableError


def resolve_device(device: str) -> str:
    """The device that a request stands for.

    Args:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:N"``, or ``"auto"``: the first GPU, or the CPU if TensorFlow sees none.

    Returns:
        ``"cpu"`` or ``"cuda:N"``.

    Raises:
        UnavailableError: if TensorFlow cannot use that GPU; the message names what is missing.
        OptionError: for any other string.
    """
    import tensorflow as tf

    kind, index = parse_device(device)
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "cpu" or (kind == "auto" and not gpus):
        return "cpu"
    if not gpus:
        missing = (
            "it finds no GPU: check nvidia-smi, TensorFlow's log with TF_CPP_MIN_LOG_LEVEL=0, and whether its "
            'CUDA libraries are installed: pip install "tensorflow[and-cuda]"'
            if tf.test.is_built_with_cuda()
            else "this build of TensorFlow has no CUDA"
        )
        raise UnavailableError(f"TensorFlow cannot use {device}: {missing}; or use --device cpu")
    if index >= len(gpus):
        raise UnavailableError(f"TensorFlow cannot use {device}: it finds {len(gpus)} GPU(s), numbered from 0")
    return f"cuda:{index}"


def is_on_gpu(tensor: Any) -> bool:
    """Returns whether TensorFlow has placed a variable or an eager tensor on a GPU."""
    import tensorflow as tf

    return bool(tf.DeviceSpec.from_string(tensor.device).device_type == "GPU")


def multiplies_bfloat16(device: str) -> bool:
    """Returns whether a device from :func:`resolve_device` has instructions for bfloat16 products.

    These are all GPUs, and CPUs with AMX or AVX-512 BF16, which only Linux reports. On any other CPU such a product
    takes several times as long as in float32.
    """
    if device != "cpu":
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def placed_on(device: str) -> AbstractContextManager[Any]:
    """A context that places new variables and operations on a device from :func:`resolve_device`."""
    import tensorflow as tf

    placed: AbstractContextManager[Any] = tf.device(
        "/CPU:0" if device == "cpu" else f"/GPU:{device.removeprefix('cuda:')}"
    )
    return placed
