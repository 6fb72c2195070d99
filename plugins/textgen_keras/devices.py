"""Where TensorFlow computes. The functions need TensorFlow: see :func:`require_tensorflow`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from textgen import parse_device
from textgen.errors import UnavailableError


def resolve_device(device: str) -> str:
    """The device that a request stands for.

    Args:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:N"``, or ``"auto"``: the first GPU, the CPU where TensorFlow sees none.

    Returns:
        ``"cpu"`` or ``"cuda:N"``.

    Raises:
        UnavailableError: where TensorFlow cannot use that GPU; says what is missing.
        OptionError: for anything else.
    """
    import tensorflow as tf

    kind, index = parse_device(device)
    gpus = tf.config.list_physical_devices("GPU")
    if kind == "cpu" or (kind == "auto" and not gpus):
        return "cpu"
    if not gpus:
        missing = (
            "it finds no GPU: look at nvidia-smi, at TensorFlow's log with TF_CPP_MIN_LOG_LEVEL=0, and whether its "
            'CUDA libraries are there: pip install "tensorflow[and-cuda]"'
            if tf.test.is_built_with_cuda()
            else "this build of it has no CUDA"
        )
        raise UnavailableError(f"TensorFlow cannot use {device}: {missing}; or use --device cpu")
    if index >= len(gpus):
        raise UnavailableError(f"TensorFlow cannot use {device}: it finds {len(gpus)} GPU(s), numbered from 0")
    return f"cuda:{index}"


def multiplies_bfloat16(device: str) -> bool:
    """Whether a device that :func:`resolve_device` gave has instructions for products in bfloat16.

    Of CPUs, those with AMX or AVX-512 BF16 (Linux alone tells): any other takes several times as long as in float32.
    """
    if device != "cpu":
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def placed_on(device: str) -> AbstractContextManager[Any]:
    """A context whose variables and operations are placed on a device that :func:`resolve_device` gave."""
    import tensorflow as tf

    placed: AbstractContextManager[Any] = tf.device(
        "/CPU:0" if device == "cpu" else f"/GPU:{device.removeprefix('cuda:')}"
    )
    return placed
