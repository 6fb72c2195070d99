"""Where TensorFlow's peers run: on its default device, which is a GPU where it sees one."""

from __future__ import annotations


def require_device(device: str) -> None:
    """Raise where ``"cuda"`` is asked for and TensorFlow would run on the CPU instead."""
    import tensorflow as tf

    if device == "cuda" and not tf.config.list_physical_devices("GPU"):
        raise RuntimeError('TensorFlow finds no GPU: pip install "tensorflow[and-cuda]"')
