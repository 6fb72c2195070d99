"""The graphs of an export, run on a device: sessions are opened when they are needed, and kept.

The threads of a session do not survive a fork, so a process uses only sessions that it has opened itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from textgen import Artifact, State
from textgen.errors import ArtifactError, UnavailableError
from textgen_onnx.checks.refused import Refused
from textgen_onnx.checks.signature import check_outputs, check_signature
from textgen_onnx.contract import STEP
from textgen_onnx.running.device_state import DeviceState, place
from textgen_onnx.running.graphs import Runnable, refusal
from textgen_onnx.running.interruptible import InterruptibleSession
from textgen_onnx.running.session import is_failure, open_session, reason_of
from textgen_onnx.running.threads import choose_threads

if TYPE_CHECKING:
    from textgen_onnx.checks.foreign import ForeignGraph

#: Steps of the run that measures threads, at least and at most. Handing rows to threads costs as much as some steps of
#: a small model, which would then look slower than it is in a whole chunk. So the run has as many steps as it takes to
#: reach the first of these numbers of multiplications and of rows times steps.
MEASURED_STEPS, MEASURED_MULTIPLICATIONS, MEASURED_ROWS = (8, 64), 5e8, 4096

#: Runs after which threads are measured again that were measured while the process was busy with other things.
MEASURED_AGAIN = 100


class Runner:
    """Runs the graphs of an export, and graphs that are built from its weights.

    Args:
        export: the export's folder.
        device: ``"cpu"`` or ``"cuda:N"``.
        binds: whether states stay in ``OrtValue``s, through I/O binding.
    """

    def __init__(self, export: Artifact, device: str, *, binds: bool) -> None:
        self.device = device
        self._export = export
        self._binds = binds
        self._spec = export.state_spec
        self._vocab_size = export.manifest.vocab_size
        self._graphs: dict[str, Runnable] = {}
        self._sessions: dict[tuple[int, str, int], Any] = {}  # by the process that opened them
        self._runs_left: dict[tuple[int, str, int], int] = {}  # until threads are measured again
        # Batches of other sizes may use the same session: opening one takes time, and a graph may make large tables.
        self._by_threads: WeakValueDictionary[tuple[int, str, int], Any] = WeakValueDictionary()

    def has(self, name: str) -> bool:
        """True if a graph was added."""
        return name in self._graphs

    def add(self, name: str, graph: Runnable) -> None:
        """Add a graph.

        Args:
            name: of its file in the export; any other name if it has none.
            graph: may be run.

        Raises:
            UnavailableError: if it is confined and the device is not the CPU.
        """
        if graph.is_confined and self.device != "cpu":
            raise UnavailableError(
                f"{self._export.path / name} runs in a process of its own, on the CPU: use --device cpu"
            )
        self._graphs[name] = graph

    def run(
        self, name: str, batch: int, feeds: Mapping[str, NDArray[Any]], state: State, outputs: list[str]
    ) -> tuple[dict[str, Any], State]:
        """Run a graph.

        Args:
            name: the graph.
            batch: rows.
            feeds: its inputs besides the state.
            state: the state before.
            outputs: names of the outputs to compute, besides the state.

        Returns:
            The outputs by name, as arrays or ``OrtValue``s, and the state after.

        Raises:
            ArtifactError: if the graph is damaged, or does not belong to the model.
        """
        present = [f"present.{tensor.name}" for tensor in self._spec.tensors]
        if (foreign := self._graphs[name].foreign) is not None:
            self._check(foreign, name, batch, feeds["ids"].shape[1])
        session = self._session(name, batch, feeds, state)
        try:
            found = self._run(session, feeds, state, [*outputs, *present])
        except Exception as error:
            # ONNX Runtime has a class of its own for each kind of failure; all of them are in one module.
            if not is_failure(error):
                raise
            raise ArtifactError(f"{self._export.path / name} cannot be run: {reason_of(error)}; export again") from None
        check_outputs(found, self._export.path, name, self._spec, self._vocab_size, feeds)
        values = {name.removeprefix("present."): found.pop(name) for name in present}
        return found, DeviceState(values, self.device) if self._binds else State(values)

    def _check(self, foreign: ForeignGraph, name: str, rows: int, steps: int) -> None:
        """Check a foreign graph before it reads ids, and before it does so to choose its threads."""
        try:
            for each in {steps, min(steps, self._measured_steps(rows))}:
                foreign.check(rows, each)
        except Refused as reason:
            raise ArtifactError(refusal(self._export.path / name, reason)) from None

    def _session(self, name: str, batch: int, feeds: Mapping[str, NDArray[Any]], state: State) -> Any:
        """The session of a graph, with the threads that suit batches of this size."""
        is_divided = self.device == "cpu" and not self._graphs[name].is_confined
        key = (os.getpid(), name, batch.bit_length() if is_divided else 0)
        if left := self._runs_left.get(key):
            self._runs_left[key] = left - 1
        if key in self._sessions and left != 0:
            return self._sessions[key]
        graph = self._graphs[name].content
        if self._graphs[name].is_confined:
            session = self._open_confined(graph, name, feeds)
        elif self.device == "cpu":
            record = self._export.manifest.files.get(name) or self._export.manifest.files[STEP]
            identity = f"{onnxruntime.__version__}:{record.sha256[:16]}:{name}:{key[2]}"
            measured = _shortened(feeds, self._measured_steps(batch))
            session, is_final = choose_threads(
                identity,
                1 if self._binds else batch,  # a binding is for all rows
                lambda threads: self._open(graph, name, feeds, threads),
                lambda session: self._run(session, measured, state, []),
                again=left == 0,
            )
            self._runs_left.pop(key, None)
            if not is_final:
                self._runs_left[key] = MEASURED_AGAIN
        else:
            session = self._open(graph, name, feeds)
        self._sessions[key] = session
        return session

    def _measured_steps(self, batch: int) -> int:
        least, most = MEASURED_STEPS
        per_step = batch * sum(prod(tensor.shape) ** 2 for tensor in self._spec.tensors)
        enough = min(MEASURED_MULTIPLICATIONS / max(1, per_step), MEASURED_ROWS / batch)
        return least if batch == 1 else int(np.clip(enough, least, most))

    def _open(self, graph: bytes, name: str, feeds: Mapping[str, NDArray[Any]], threads: int = 0) -> Any:
        key = (os.getpid(), name, threads)
        session = self._by_threads.get(key)
        if session is None:
            path = self._export.path / name
            session = open_session(graph, str(path), self.device, threads=threads)
            check_signature(session, path, self._spec, self._vocab_size, feeds)
            if self._graphs[name].foreign is not None:
                session = InterruptibleSession(session)
            self._by_threads[key] = session
        return session

    def _open_confined(self, graph: bytes, name: str, feeds: Mapping[str, NDArray[Any]]) -> Any:
        from textgen_onnx.running.confined import ConfinedSession

        path = self._export.path / name
        session = ConfinedSession(graph, str(path))
        check_signature(session, path, self._spec, self._vocab_size, feeds)
        return session

    def _run(self, session: Any, feeds: Mapping[str, NDArray[Any]], state: State, outputs: list[str]) -> dict[str, Any]:
        """Run a session; with I/O binding, inputs and outputs stay on the device."""
        names = outputs or [value.name for value in session.get_outputs()]
        if not self._binds or not hasattr(session, "io_binding"):  # a confined one has none
            past = {f"past.{name}": array for name, array in state.items()}
            return dict(zip(names, session.run(names, {**feeds, **past}), strict=True))
        binding = session.io_binding()
        # A value on the CPU uses its array's memory, which the binding does not keep alive: ``inputs`` does.
        inputs = {name: place(array, self.device) for name, array in feeds.items()}
        inputs |= {f"past.{name}": value for name, value in DeviceState.of(state, self.device).values_on_device()}
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        kind, _, index = self.device.partition(":")
        for name in names:
            binding.bind_output(name, kind, int(index or 0))
        session.run_with_iobinding(binding)
        return dict(zip(names, binding.get_outputs(), strict=True))


def _shortened(feeds: Mapping[str, NDArray[Any]], steps: int) -> dict[str, NDArray[Any]]:
    """The feeds of a run of a few steps."""
    short = dict(feeds)
    if "uniforms" in feeds:
        short["uniforms"] = feeds["uniforms"][:steps]
    else:
        short["ids"] = feeds["ids"][:, :steps]
        short["lengths"] = np.minimum(feeds["lengths"], steps)
    return short
