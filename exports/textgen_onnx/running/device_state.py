"""A state whose tensors stay on the device of the model until they are read."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from textgen import State


def place(array: NDArray[Any], device: str) -> Any:
    """An ``OrtValue`` of an array on a device; on the CPU a contiguous array is not copied."""
    kind, _, index = device.partition(":")
    return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), kind, int(index or 0))


def on_host(value: Any) -> NDArray[Any]:
    """The array of an output, which is an array or an ``OrtValue``."""
    array: NDArray[Any] = value if isinstance(value, np.ndarray) else value.numpy()
    return array


class DeviceState(State):
    """A state of ``OrtValue``s; :meth:`__getitem__` copies a tensor to the host.

    Args:
        values: by name.
        device: of the values, ``"cpu"`` or ``"cuda:N"``.
    """

    def __init__(self, values: Mapping[str, Any], device: str) -> None:
        self._values = dict(values)
        self.device = device

    @classmethod
    def of(cls, state: State, device: str) -> DeviceState:
        """A state on a device; the same object if it is there already."""
        if isinstance(state, cls) and state.device == device:
            return state
        return cls({name: place(array, device) for name, array in state.items()}, device)

    def values_on_device(self) -> ItemsView[str, Any]:
        """The ``OrtValue``s by name."""
        return self._values.items()

    def __getitem__(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = self._values[name].numpy()
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
