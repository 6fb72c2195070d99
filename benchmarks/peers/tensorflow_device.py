"""The device of TensorFlow's peers: TensorFlow's default, which is a GPU if it finds one."""

from __future__ import annotations


def require_device(device: str) -> None:
    """Raises an error if ``"cuda"`` is requested and TensorFlow would run on the CPU instead."""
    import tensorflow as tf

    if device == "cuda" and not tf.config.list_physical_devices("GPU"):
        raise RuntimeError('TensorFlow finds no GPU: pip install "tensorflow[and-cuda]"')
