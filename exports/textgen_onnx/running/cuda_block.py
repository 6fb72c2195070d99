"""The block graph on one device, with buffers that are bound once; on CUDA it is replayed as a CUDA graph.

A CUDA graph replays with the addresses that it was captured with, and capturing runs the graph. So two sets of state
buffers take turns: run A reads set 0 and writes set 1, run B reads set 1 and writes set 0. No run overwrites its own
inputs, so a capture computes the same as its first replay.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from textgen import State, StateSpec
from textgen_onnx.running.device_state import DeviceState, place


class BlockLoop:
    """Writes text in blocks of a fixed number of steps and rows.

    Args:
        session: of a graph from :func:`textgen_onnx.graphs.generate.build_block`.
        spec: of the model's state.
        device: ``"cpu"`` or ``"cuda:N"``.
    """

    def __init__(
        self,
        session: Any,
        spec: StateSpec,
        device: str,
    ) -> None:
        self._session, self._device = session, device
        shapes = {value.name: value.shape for value in session.get_inputs()}
        self.steps, self.batch = shapes["uniforms"]
        self._last_ids = place(np.zeros(self.batch, np.int64), device)
        self._uniforms = place(np.zeros((self.steps, self.batch), np.float32), device)
        self._ids = place(np.zeros((self.steps, self.batch), np.int64), device)
        self._finished = place(np.zeros(self.batch, np.bool_), device)
        states = {f"past.{tensor.name}" for tensor in spec.tensors}
        column = np.ones((self.batch, 1), np.float32)
        fixed = {"last_ids", "uniforms", "seen", *states}
        self._parameters = {name: place(column.copy(), device) for name in shapes if name not in fixed}
        start: dict[str, NDArray[Any]] = dict(spec.initial_state(self.batch))
        if "seen" in shapes:
            start["seen"] = np.zeros(shapes["seen"], np.bool_)
        self._buffers = [{name: place(array.copy(), device) for name, array in start.items()} for _ in range(2)]
        self._lent: list[weakref.ref[_LentState] | None] = [None, None]
        self._turn = 0
        self._bindings = [self._bind(turn) for turn in range(2)]

    def _bind(self, turn: int) -> Any:
        binding = self._session.io_binding()
        binding.bind_ortvalue_input("last_ids", self._last_ids)
        binding.bind_ortvalue_input("uniforms", self._uniforms)
        for name, value in self._parameters.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in self._buffers[turn].items():
            binding.bind_ortvalue_input("seen" if name == "seen" else f"past.{name}", value)
        for name, value in self._buffers[1 - turn].items():
            binding.bind_ortvalue_output(f"present.{name}", value)
        binding.bind_ortvalue_output("ids", self._ids)
        binding.bind_ortvalue_output("finished", self._finished)
        return binding

    def run(
        self,
        last_ids: NDArray[np.int32],
        state: State,
        feeds: Mapping[str, NDArray[Any]],
    ) -> tuple[NDArray[np.int64], State, NDArray[np.bool_] | None]:
        """Write a block.

        Args:
            last_ids: ``[batch]`` int32, not read yet.
            state: before them; the state that the last block returned is not copied.
            feeds: ``uniforms [steps, batch]`` float32, the chain's parameters ``[batch, 1]`` float32 and, if the chain
                uses it, ``seen [batch, vocab]`` bool.

        Returns:
            Ids ``[steps, batch]`` int64, the state before the last of them is read, and ``seen`` after the block.
        """
        lent = self._lent[self._turn]
        if lent is None or state is not lent():
            self._settle(self._turn)
            for name, array in state.items():
                self._overwrite(self._buffers[self._turn][name], array)
        for name, array in feeds.items():
            target = self._buffers[self._turn] if name == "seen" else self._parameters
            self._overwrite(self._uniforms if name == "uniforms" else target[name], array)
        self._overwrite(self._last_ids, last_ids.astype(np.int64))
        after = 1 - self._turn
        self._settle(after)
        options = onnxruntime.RunOptions()
        if self._device != "cpu":
            options.add_run_config_entry("gpu_graph_id", str(self._turn + 1))
        self._session.run_with_iobinding(self._bindings[self._turn], options)
        self._turn = after
        values = {name: value for name, value in self._buffers[after].items() if name != "seen"}
        left = _LentState(values, self._device)
        self._lent[after] = weakref.ref(left)
        seen = self._buffers[after].get("seen")
        return self._ids.numpy().copy(), left, None if seen is None else seen.numpy().copy()

    def _settle(self, turn: int) -> None:
        """Copy the state out of buffers that are about to be overwritten, if anyone still holds it."""
        lent, self._lent[turn] = self._lent[turn], None
        if lent is not None and (held := lent()) is not None:
            held.settle()

    @staticmethod
    def _overwrite(value: Any, array: NDArray[Any]) -> None:
        value.update_inplace(np.ascontiguousarray(array))


class _LentState(DeviceState):
    """A state in buffers that will be overwritten; if it is still held by then, it becomes a copy."""

    def __getitem__(self, name: str) -> NDArray[Any]:
        return super().__getitem__(name).copy()  # on the CPU it would be the buffer itself

    def settle(self) -> None:
        """Copy the tensors out of the buffers."""
        self._values = {name: place(value.numpy().copy(), self.device) for name, value in self._values.items()}
